"""C++ names: linker names as the source writes them, and the names people ask for."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

__all__ = ["demangle", "same_name", "without_parameters"]

# What GCC appends to the name of a copy: .part.0, .constprop.1, .isra.0.
_CLONE = re.compile(r"\.[A-Za-z_]\w*(?:\.\d+)*")
_ANONYMOUS = re.compile(r"_GLOBAL__N_\w*|_GLOBAL_\..*")


@lru_cache(maxsize=65536)
def demangle(name: str) -> str:
    """A C++ symbol as written in the source, without a template's return type; other names unchanged."""
    if not name.startswith("_Z"):
        return name
    from itanium_demangler import parse

    stem, dot, suffix = name.partition(".")
    try:
        tree = parse(stem)
        text = None if tree is None else _text(_plain(tree))
    except (
        NotImplementedError,
        ValueError,
        IndexError,
        KeyError,
        AttributeError,
        TypeError,
        RecursionError,
        AssertionError,
    ):
        return name
    if text is None:
        return name
    return " ".join([text, *(f"[clone {part}]" for part in _CLONE.findall(dot + suffix))])


def _plain(node: Any) -> Any:
    """A tree with constructors, destructors and anonymous namespaces named as the source names them."""
    from itanium_demangler import Node

    if node is None:
        return None
    if node.kind == "func":
        return node._replace(
            name=_plain(node.name), arg_tys=tuple(map(_plain, node.arg_tys)), ret_ty=_plain(node.ret_ty)
        )
    if node.kind == "literal" and str(node.ty) == "int":
        return Node("name", node.value)
    if node.kind == "name":
        return Node("name", "(anonymous namespace)") if _ANONYMOUS.fullmatch(node.value) else node
    if node.kind == "qual_name":
        parts: list[Any] = []
        last = ""
        for part in node.value:
            if part.kind in ("ctor", "dtor"):
                parts.append(Node("name", f"{'~' if part.kind == 'dtor' else ''}{last}"))
                continue
            parts.append(_plain(part))
            last = part.value if part.kind == "name" else last
        return Node("qual_name", tuple(parts))
    return node.map(_plain)


def _text(tree: Any) -> str:
    if tree.kind != "func":
        return str(tree)
    if tree.name.kind == "cv_qual":  # a method that is const
        return f"{tree._replace(name=tree.name.value, ret_ty=None)} {' '.join(sorted(tree.name.qual))}"
    return str(tree._replace(ret_ty=None))


def without_parameters(name: str) -> str:
    """A demangled name up to the parameters of the function; ``(anonymous namespace)`` and template arguments stay."""
    depth = 0
    for index, char in enumerate(name):
        operator = name[:index].endswith(("operator", "operator<", "operator>", "operator-"))
        if char == "<" and not operator:
            depth += 1
        elif char == ">" and not operator:
            depth -= 1
        elif char == "(" and depth == 0 and index and not name.startswith(("(anonymous", "()("), index):
            return name[:index]
    return name


def same_name(asked: str, shown: str) -> bool:
    """Whether a demangled name is the one asked for: with or without parameters, leading namespaces, return type."""
    if asked.endswith((f" {shown}", f"*{shown}", f"&{shown}")):
        return True
    asked, plain = asked.replace(" ", ""), without_parameters(shown).replace(" ", "")
    return asked in (shown.replace(" ", ""), plain) or ("(" not in asked and plain.endswith(f"::{asked}"))
