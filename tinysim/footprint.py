"""Footprint: where flash and RAM go, by section and by purpose, read from the ELF file and from the run."""

from __future__ import annotations

from collections.abc import Mapping

from tinysim.errors import CapacityError
from tinysim.image import Image, Section
from tinysim.part import Part, load_part, part_names
from tinysim.result import MemoryUse, SectionUse, SpanUse

__all__ = ["check_capacity", "footprint"]

_RESERVES = (".stack", ".heap", "._user_heap_stack", ".stack_dummy", ".heap_dummy")
"""Sections that only reserve room for a stack or a heap; the run says how much of it is used."""


def _purpose(section: Section) -> str:
    name = section.name
    if name.startswith(".weights"):
        return "weights"
    if name.startswith(".arena"):
        return "arena"
    if name.startswith(_RESERVES):
        return "reserve"
    if section.writable:
        return "data"
    return "code" if section.executable or "vector" in name else "constants"


def footprint(
    image: Image,
    part: Part,
    *,
    stack_peak_bytes: int | None,
    arena_used_bytes: int | None = None,
    weights_bytes: int | None = None,
) -> MemoryUse:
    """How much of ``part``'s memories ``image`` takes.

    A section takes flash where it has bytes that must be kept, and RAM where it lives in writable memory; initialised
    data takes both. ``stack_peak_bytes`` (from the run) is added to RAM; sections that only reserve stack or heap are
    not. ``weights_bytes`` overrides the size of the ``.weights`` section with the model's own constant data.
    """
    sections = []
    by_purpose: dict[str, int] = {}
    used: dict[str, int] = {region.name: 0 for region in part.regions}
    flash = ram = 0
    for section in image.sections:
        home = part.region_at(section.address)
        purpose = _purpose(section)
        in_ram = home is not None and home.kind.writable and purpose != "reserve"
        # what a loader puts into RAM has to be kept somewhere too
        in_flash = section.stored and part.region_at(section.load_address) is not None
        sections.append(
            SectionUse(
                section.name, section.address, section.bytes, home.name if home else "?", purpose, in_flash, in_ram
            )
        )
        by_purpose[purpose] = by_purpose.get(purpose, 0) + section.bytes
        if in_flash:
            flash += section.bytes
            if not in_ram or section.load_address != section.address:
                _occupy(part, section.load_address, section.bytes, used)
        if in_ram:
            ram += section.bytes
            _occupy(part, section.address, section.bytes, used)
    return MemoryUse(
        flash_bytes=flash,
        ram_bytes=ram + (stack_peak_bytes or 0),
        stack_peak_bytes=stack_peak_bytes,
        code_bytes=by_purpose.get("code", 0),
        weights_bytes=by_purpose.get("weights", 0) if weights_bytes is None else weights_bytes,
        constants_bytes=by_purpose.get("constants", 0),
        data_bytes=by_purpose.get("data", 0),
        arena_bytes=by_purpose.get("arena"),
        arena_used_bytes=arena_used_bytes,
        sections=tuple(sections),
        memories=tuple(SpanUse(r.name, used[r.name], r.size) for r in part.regions if used[r.name]),
    )


def _occupy(part: Part, address: int, size: int, used: dict[str, int]) -> None:
    """Add a stretch to the bytes used of each memory it lies in: it may reach over memories that touch."""
    while size > 0 and (region := part.region_at(address)) is not None:
        base = next(base for base, length in region.windows if base <= address < base + length)
        inside = min(size, base + region.size - address)
        used[region.name] += inside
        address, size = address + inside, size - inside


def check_capacity(part: Part, needed: Mapping[str, int], what: str) -> None:
    """Check the bytes each purpose of the placement needs (``code``: all of flash) against the part.

    Raises CapacityError that says how many bytes are missing where, and which parts of the catalogue have room.
    """
    if _holds(part, needed):
        return
    groups: dict[str, int] = {}
    for purpose, bytes_needed in needed.items():
        largest = max(part.placement[purpose], key=lambda names: part.span(names)[1])
        groups[largest] = groups.get(largest, 0) + bytes_needed
    missing = [
        f"{total - part.span(names)[1]:,} bytes of {names} (needs {total:,}, has {part.span(names)[1]:,})"
        for names, total in groups.items()
        if total > part.span(names)[1]
    ]
    if not missing:  # each fits alone in its largest memory, but not all together
        missing = [f"room for {', '.join(f'{n:,} bytes of {purpose}' for purpose, n in needed.items())} together"]
    holders = [name for name in part_names() if name != part.name and _holds(load_part(name), needed)]
    hint = (
        f"parts with room: {', '.join(holders)}"
        if holders
        else "no part of the catalogue has room; make the model smaller"
    )
    raise CapacityError(f"{what} does not fit {part.title}: missing {' and '.join(missing)}", hint=hint)


def _holds(part: Part, needed: Mapping[str, int]) -> bool:
    """Whether a part has room; purposes that go to one memory share its bytes."""
    left: dict[str, int] = {}
    for purpose, bytes_needed in needed.items():
        for names in part.placement[purpose]:
            regions = names.split("+")
            room = left.get(names, part.span(names)[1])
            if room >= bytes_needed and not any(
                set(regions) & set(other.split("+")) for other in left if other != names
            ):
                left[names] = room - bytes_needed
                break
        else:
            return False
    return True
