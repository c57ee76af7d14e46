"""Everything that opens for a text by which people and servers are introduced, in one place.

| somebody sent | opens |
|---|---|
| an invite | `AcceptInviteScreen` |
| the answer to an invite of ours | `AcceptAnswerScreen` |
| a friend card | `AddFriendScreen` |
| servers, or a relay's or index server's ticket | `ServersScreen` |

Source: design R48 (importing never acts); apps.md §7.5.
"""

from offset_engine.files import Answer, FriendCard, Invite, Servers, Ticket
from offset_tui.reviews import reviews
from offset_tui.screens.accept import AcceptAnswerScreen, AcceptInviteScreen
from offset_tui.screens.add_friend import AddFriendScreen
from offset_tui.screens.invite import InviteScreen
from offset_tui.screens.use_servers import ServersScreen

__all__ = [
    "AcceptAnswerScreen",
    "AcceptInviteScreen",
    "AddFriendScreen",
    "InviteScreen",
    "ServersScreen",
]


reviews(Invite)(AcceptInviteScreen)
reviews(Answer)(AcceptAnswerScreen)
reviews(FriendCard)(AddFriendScreen)
reviews(Servers)(ServersScreen)
reviews(Ticket)(ServersScreen)
