"""`stverify self-test`: this program against examples whose outcome is known.

The examples are those of apps.md §7.6, made by an independent program: an invoice, its commit and
receipt signed both ways, variations that must fail, a token of 2020, a signed invoice, a text form.
"""

import argparse
import json
from collections.abc import Iterator
from typing import Final, TypeVar

from offset_engine.core.crypto import sha512_256
from offset_engine.core.signing import (
    RESPONSE_PREFIX,
    RESPONSE_PREFIX_2020,
    Commit,
    Invoice,
    Receipt,
)
from offset_engine.errors import FileError
from offset_engine.files import (
    Check,
    Token,
    TokenCheck,
    TokenForm,
    TokenVerdict,
    Verdict,
    Vouched,
    parse,
    to_text,
    verify_commit,
    verify_invoice,
    verify_receipt,
    verify_token,
)
from offset_engine.programs.arguments import Json, Output, RefusedError

_C = TypeVar("_C", Invoice, Commit, Receipt, Token)
_HASH: Final = "349c7ea7498d0432dcb0604a9ed37a8b65a90bfa166c91475f072a29e42da1fb"
_INVOICE: Final = {
    "invoiceId": "PCQKgssDeIR96KIVjJ1gamr1vcx9FDGRF2FCLN0Gzls",
    "currency": "USD",
    "destPublicKey": "3f3fFXgZPzv3YxslbZ07SA4l_KF-51jHAr8hSngpnIg",
    "destPayment": "1250000",
    "description": "2 chocolate bars",
}
_SIGNED: Final = {
    "created": 1_700_000_000,
    "expires": 1_700_086_400,
    "decimals": 2,
    "sig": "2HQVrPU-YQvOWSut8dLIeRr1_iBrWjFi9m7VK9K6nlNUkUQBPGw1HJVU8IjGpJvb4R3R0KO-nm7IfDDACbZHAg",
}
_PART: Final = {
    "responseHash": "ZkIzkN0htRkY5TtTWL_cWw8Tlhkgc0idbrC9R3E5P0Q",
    "srcPlainLock": "WEfWzLGRs30GVmhg_FkRlWir_jvHusm-dFNDOaQCy7M",
    "destPayment": "1250000",
    "totalDestPayment": "1250000",
    "invoiceId": _INVOICE["invoiceId"],
    "currency": "USD",
}
_COMMIT: Final = {**_PART, "destHashedLock": "Af_wPhQP_MH2_osByRd0TMGD-GqlCYj7NYkwNv4WQ-k"}
_RECEIPT: Final = {
    **_PART,
    "destPlainLock": "6FGvH1rLVXzh52kmKHa4WB3492t4u7KHNoTpX4A6XAY",
    "isComplete": True,
}
_DOCUMENTED: Final = (
    "5lKOR458NegiU8Q0y9QwuTn8m_i6bSgtaSItTiscR-NQ4HM4N6V9iPr1bL-DOA_awsh3gWDk74uczrngcmkHCw"
)
_OF_2020: Final = (
    "hye54pTYRynbPhgTUx_I_bykfF8zHsfmY6IYhqhKvCchxYKZf3gQtCEA1RBNpVqx8lpxydaSkd-xMVP7yBHoBw"
)
_PROOFS: Final[tuple[tuple[str, dict[str, Json], str, Verdict], ...]] = (
    ("as documented", {}, _DOCUMENTED, Verdict(None, RESPONSE_PREFIX)),
    ("as in 2020", {}, _OF_2020, Verdict(None, RESPONSE_PREFIX_2020)),
    (
        "last part of a split",
        {"destPayment": "500000"},
        "fEYM5DmMnl7jYrgGgNMfxucitMoRm9ubeus0aEUeeazfMVP1uhLlnQwFqbdxodZ9P5vyvlVImh86WALhKWWEDg",
        Verdict(None, RESPONSE_PREFIX_2020),
    ),
    (
        "part larger than the total",
        {"destPayment": "2000000"},
        "F8xefJPWViBxFqMleEzyWTW2Dddt8Tzs4A829nvjhChAdtoragEL6hhngdv1JVoyn6JFHuoI1xxb3N1Wk02IAQ",
        Verdict(Check.PART),
    ),
    (
        "another currency",
        {"currency": "EUR"},
        "MXIZ2Vuz77iA-u2f20E7vn8wBJNgXjZrZKMDi8BzO9MRdESClL8cVoH_uFbbZmRxsGpYO2cH_hn2Uhgh5WSLCQ",
        Verdict(Check.CURRENCY),
    ),
    ("another amount", {"totalDestPayment": "1250001"}, _DOCUMENTED, Verdict(Check.TOTAL)),
    ("a changed part", {"destPayment": "1249999"}, _DOCUMENTED, Verdict(Check.SIGNATURE)),
)
_INCOMPLETE: Final = (
    "Awt6RLNyKmnZfydtlYLbeWgf5mGRmDjmhu42xj3LQNzuu-Un0WwK79YwJdDa0USHTyxf9U9Ax3xR71KH1IFrDw"
)
_BALANCE: Final = {"balance": "1250000", "local_pending_debt": "0", "remote_pending_debt": "0"}
_TOKEN: Final = {
    "prefix_hash": "tvDm1nZFAIdPIm2ww8XmhhTkrIgvK6t4hXRCKdQVbS0",
    "rand_nonce": "oyPaZlJOnBWn-G9aLn6QXw",
    "new_token": (
        "4mbV9kqcwiu6DTEILT6bguTPAOApGVXg49peUSbR6RcN8RPTOrYtlp2cFqnKmMZ7CmSbOeyMTXNWrKU0jrNMBA"
    ),
    "token_info": {
        "mc": {
            "local_public_key": _INVOICE["destPublicKey"],
            "remote_public_key": "ck2goUMTxvNmVlngwtZjUq2CQP9-V6giERhGm4BD7uA",
            "balances": [{"currency": "USD", "balance_info": _BALANCE}],
        },
        "counters": {"inconsistency_counter": 0, "move_token_counter": "7"},
    },
}
_TEXT: Final = (
    "offset1:invoice:SQE8JAqCywN4hH3oohWMnWBqavW9zH0UMZEXYUIs3QbOWwNVU0Td_d8VeBk_O_djGyVtnTtIDiX8oX7nW"
    "McCvyFKeCmciAMTEtAQMiBjaG9jb2xhdGUgYmFycw:PTzt"
)


def act(_args: argparse.Namespace, output: Output) -> None:
    """Run every example.

    Raises:
        RefusedError: one came out differently.
    """
    outcomes = dict(_examples())
    wrong = [name for name, is_right in outcomes.items() if not is_right]
    values: dict[str, Json] = {"examples": len(outcomes), "failed": list(wrong)}
    for name in outcomes:
        output.detail(f"{'wrong' if name in wrong else 'right'}: {name}")
    if wrong:
        raise RefusedError(f"do not trust this installation, it is wrong about: {wrong}", values)
    output.result(values, f"{len(outcomes)} examples came out as they should")


def _examples() -> Iterator[tuple[str, bool]]:
    """Name of an example, and whether it came out right."""
    yield "hash", sha512_256(b"This is a test!").hex() == _HASH
    invoice = _read(_INVOICE, Invoice)
    for name, change, signature, expected in _PROOFS:
        commit = _read({**_COMMIT, **change, "signature": signature}, Commit)
        receipt = _read({**_RECEIPT, **change, "signature": signature}, Receipt)
        yield f"commit: {name}", verify_commit(invoice, commit) == expected
        yield f"receipt: {name}", verify_receipt(invoice, receipt) == expected
    part = _read({**_RECEIPT, "isComplete": False, "signature": _INCOMPLETE}, Receipt)
    incomplete = Verdict(None, RESPONSE_PREFIX_2020, is_complete=False)
    yield "receipt: incomplete", verify_receipt(invoice, part) == incomplete
    yield from _token_examples()
    signed = _read({**_INVOICE, **_SIGNED}, Invoice)
    yield "invoice: signed", verify_invoice(signed) is Vouched.SIGNED
    yield "invoice: unsigned", verify_invoice(invoice) is Vouched.UNSIGNED
    yield "invoice: changed", _is_refused({**_INVOICE, **_SIGNED, "destPayment": "1250001"})
    yield "text form", to_text(invoice) == _TEXT
    yield "text form read", parse(_TEXT, Invoice) == invoice


def _token_examples() -> Iterator[tuple[str, bool]]:
    token = _read(_TOKEN, Token)
    yield "token", verify_token(token) == TokenVerdict(None, TokenForm.OF_2020)
    later = _read({**_TOKEN, "rand_nonce": "oyPaZlJOnBWn-G9aLn6QXg"}, Token)
    yield "token: changed", verify_token(later) == TokenVerdict(TokenCheck.SIGNATURE)


def _read(values: object, wanted: type[_C]) -> _C:
    return parse(json.dumps(values), wanted)


def _is_refused(values: object) -> bool:
    try:
        _read(values, Invoice)
    except FileError:
        return True
    return False
