"""Artifacts outside the network: files, texts, QR codes, and what they prove.

    artifacts     what there is, as values
    json_forms    ⇄ JSON in both spellings
    packing       → few bytes            unpacking    few bytes →
    armour        ⇄ texts and QR texts
    pasted        text somebody pasted → artifacts: `read_any`
    identities    identity files, plain or sealed with a passphrase
    documents     files ⇄ artifacts: `parse`, `load`, `load_any`, `write`
    verifying     what commits, receipts, invoices and tokens prove
    describing    artifacts in words: `describe`

How JSON is read and written is `json_fields`' business, how files are is `disk`'s.

Source: apps.md §1 and §7, design R1, R2, R4, R9; PROTOCOL.md, "Files".
"""

from offset_engine.core.signing import Commit, Invoice, Receipt, TokenInfo
from offset_engine.files.armour import to_qr_parts, to_qr_text, to_text
from offset_engine.files.artifacts import (
    Answer,
    AppTicket,
    Artifact,
    Content,
    Form,
    FriendCard,
    Identity,
    Invite,
    PaymentHandle,
    Permissions,
    RemoteCard,
    Role,
    SealedIdentity,
    Servers,
    Terms,
    Ticket,
    Token,
    is_secret,
    kind_of_content,
)
from offset_engine.files.by_kind import (
    commit_json,
    invoice_json,
    load_commit,
    load_invoice,
    load_receipt,
    load_ticket,
    parse_commit,
    parse_invoice,
    parse_receipt,
    parse_ticket,
    receipt_json,
    write_commit,
    write_invoice,
    write_receipt,
    write_ticket,
)
from offset_engine.files.describing import Description, describe, public_values
from offset_engine.files.documents import file_name, load, load_any, parse, ticket_of, write
from offset_engine.files.identities import (
    Ask,
    load_identity,
    load_public_key,
    public_key_in,
    read_identity,
    seal_identity,
    unseal_identity,
    write_identity,
)
from offset_engine.files.json_forms import to_json, to_json_line
from offset_engine.files.packing import invite_hash, pack
from offset_engine.files.pasted import read_any
from offset_engine.files.unpacking import unpack
from offset_engine.files.verifying import (
    PREFIX_SENTENCES,
    Check,
    TokenCheck,
    TokenForm,
    TokenVerdict,
    Verdict,
    Vouched,
    verify_commit,
    verify_invoice,
    verify_receipt,
    verify_token,
)
from offset_engine.json_fields import Kind, Style
from offset_engine.text import quoted as shown

__all__ = [
    "PREFIX_SENTENCES",
    "Answer",
    "AppTicket",
    "Artifact",
    "Ask",
    "Check",
    "Commit",
    "Content",
    "Description",
    "Form",
    "FriendCard",
    "Identity",
    "Invite",
    "Invoice",
    "Kind",
    "PaymentHandle",
    "Permissions",
    "Receipt",
    "RemoteCard",
    "Role",
    "SealedIdentity",
    "Servers",
    "Style",
    "Terms",
    "Ticket",
    "Token",
    "TokenCheck",
    "TokenForm",
    "TokenInfo",
    "TokenVerdict",
    "Verdict",
    "Vouched",
    "commit_json",
    "describe",
    "file_name",
    "invite_hash",
    "invoice_json",
    "is_secret",
    "kind_of_content",
    "load",
    "load_any",
    "load_commit",
    "load_identity",
    "load_invoice",
    "load_public_key",
    "load_receipt",
    "load_ticket",
    "pack",
    "parse",
    "parse_commit",
    "parse_invoice",
    "parse_receipt",
    "parse_ticket",
    "public_key_in",
    "public_values",
    "read_any",
    "read_identity",
    "receipt_json",
    "seal_identity",
    "shown",
    "ticket_of",
    "to_json",
    "to_json_line",
    "to_qr_parts",
    "to_qr_text",
    "to_text",
    "unpack",
    "unseal_identity",
    "verify_commit",
    "verify_invoice",
    "verify_receipt",
    "verify_token",
    "write",
    "write_commit",
    "write_identity",
    "write_invoice",
    "write_receipt",
    "write_ticket",
]
