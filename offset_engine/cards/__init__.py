"""Cards: what a person has, each of them a node of its own or the key of one that runs elsewhere.

    values       what there is to say about a card, and its errors
    settings     how a card is shown and what it does by itself
    notes        the notebook of a card on disk
    apps         tickets of other devices
    folder       the directory of one card
    sealing      its passphrase: coming, changing, going
    opened       a local card opened for running
    backup       a card in one sealed file, and what an old one may cost
    copying      a card's directory ⇄ the content of a backup
    shelf        the directories of all cards
    card_store   all of them: `CardStore`
    running      an opened card as a running node

The store keeps secrets in files for the owner only, sealed where there is a passphrase; nothing here prints,
logs or shows one. Many cards may run in one process, one process only runs a card.

Source: apps.md §4.1, §5 S22 to S26, §6.9; design R8, R25, R47; PROTOCOL.md, "Card store".
"""

from offset_engine.cards.backup import BackupInfo, FriendSum, check_backup, is_backup, read_backup
from offset_engine.cards.card_store import CardStore, default_directory
from offset_engine.cards.opened import OpenCard
from offset_engine.cards.running import (
    ConnectionTest,
    RunningCard,
    run_card,
    running,
    try_connection,
)
from offset_engine.cards.settings import CardSettings, CurrencyView
from offset_engine.cards.values import (
    AppInfo,
    CardBusyError,
    CardError,
    CardInfo,
    CardKind,
    CardState,
    PassphraseNeededError,
    SeveralCardsError,
)
from offset_engine.sealed import Cost, Passphrase, PassphraseError

__all__ = [
    "AppInfo",
    "BackupInfo",
    "CardBusyError",
    "CardError",
    "CardInfo",
    "CardKind",
    "CardSettings",
    "CardState",
    "CardStore",
    "ConnectionTest",
    "Cost",
    "CurrencyView",
    "FriendSum",
    "OpenCard",
    "Passphrase",
    "PassphraseError",
    "PassphraseNeededError",
    "RunningCard",
    "SeveralCardsError",
    "check_backup",
    "default_directory",
    "is_backup",
    "read_backup",
    "run_card",
    "running",
    "try_connection",
]
