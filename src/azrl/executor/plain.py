"""Text that is its own canonical form, told by one regular expression.

Most inputs and outputs are numbers, short words and lists of them; to see that costs a tenth of a parse. Whatever does
not match is parsed by the judge, so matching too little costs time only; that what matches is what the judge would
say is a property that the tests check.
"""

from __future__ import annotations

import re

_ATOM = r"(?:0|-?[1-9][0-9]{0,17}|True|False|None|'[ !#-&(-\[\]-~]*')"
_TUPLE = rf"\({_ATOM}(?:, {_ATOM})+\)"
_FLAT = rf"(?:{_ATOM}|\[(?:{_ATOM}(?:, {_ATOM})*)?\]|{_TUPLE})"
# A text matches in one way at most: what almost matches costs no search.
_VALUE = rf"(?:{_ATOM}|\[(?:{_FLAT}(?:, {_FLAT})*)?\]|{_TUPLE})"
MAX_CHARS = 2000

value = re.compile(_VALUE).fullmatch
"""Matches text of one value."""
arguments = re.compile(rf"{_VALUE}(?:, {_VALUE})*").fullmatch
"""Matches text of a call's positional arguments, one at least."""
