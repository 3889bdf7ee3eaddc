"""What the build left in an ELF file about itself: the core it was built for and how it passes floats.

Tags: Arm, "Addenda to, and Errata in, the ABI for the Arm Architecture" (IHI 0045).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tinysim.errors import ImageError
from tinysim.part import Part

__all__ = ["BuildAttributes", "check_core", "read_attributes"]

ARCHITECTURES: Mapping[int, str] = {
    1: "Armv4", 2: "Armv4T", 3: "Armv5T", 4: "Armv5TE", 5: "Armv5TEJ", 6: "Armv6", 7: "Armv6KZ", 8: "Armv6T2",
    9: "Armv6K",
    10: "Armv7", 11: "Armv6-M", 12: "Armv6S-M", 13: "Armv7E-M", 14: "Armv8-A", 15: "Armv8-R", 16: "Armv8-M Baseline",
    17: "Armv8-M Mainline", 21: "Armv8.1-M Mainline", 22: "Armv9-A",
}  # fmt: skip
_RUNS_ON_ARMV7E_M = {10, 11, 12, 13}
_MICROCONTROLLER = ord("M")


@dataclass(frozen=True, slots=True)
class BuildAttributes:
    """None where the file does not say. ``profile``: ``"M"`` for microcontrollers; ``hard_float``: floats go in FPU
    registers.
    """

    architecture: int | None = None
    profile: str | None = None
    cpu: str | None = None
    hard_float: bool | None = None

    @property
    def architecture_name(self) -> str:
        """The architecture for people."""
        return ARCHITECTURES.get(self.architecture or 0, f"architecture {self.architecture}")


def read_attributes(path: Path) -> BuildAttributes:
    """The build attributes of an ELF file; all None where it has none, or where they cannot be read."""
    from elftools.common.exceptions import ELFError
    from elftools.elf.elffile import ELFFile

    found: dict[str, int | str] = {}
    try:
        with path.open("rb") as stream:
            section = ELFFile(stream).get_section_by_name(".ARM.attributes")
            if section is None or not hasattr(section, "iter_subsections"):
                return BuildAttributes()
            for subsection in section.iter_subsections():
                for scope in subsection.iter_subsubsections():
                    for attribute in scope.iter_attributes():
                        found.setdefault(str(attribute.tag), attribute.value)
    except (
        ELFError,
        OSError,
        ValueError,
        KeyError,
        IndexError,
        TypeError,
        AttributeError,
        AssertionError,
        UnicodeError,
    ):
        return BuildAttributes()

    def number(tag: str) -> int | None:
        value = found.get(tag)
        return value if isinstance(value, int) else None

    profile = number("TAG_CPU_ARCH_PROFILE")
    cpu = found.get("TAG_CPU_NAME") or found.get("TAG_CPU_RAW_NAME")
    hard = number("TAG_ABI_VFP_ARGS")
    return BuildAttributes(
        number("TAG_CPU_ARCH"),
        chr(profile) if profile else None,
        str(cpu) if cpu else None,
        hard == 1 if hard is not None or found else None,
    )


def check_core(path: Path, part: Part) -> BuildAttributes:
    """The build attributes, when the part's core runs what they name. Raises ImageError otherwise."""
    found = read_attributes(path)
    wrong = found.architecture is not None and found.architecture not in _RUNS_ON_ARMV7E_M
    if wrong or (found.profile is not None and found.profile != "M"):
        built = f"{found.architecture_name} ({found.cpu})" if found.cpu else found.architecture_name
        raise ImageError(
            f"{path.name} was built for {built}; {part.title} has a {part.core} (Armv7E-M)",
            hint=f"build with -mcpu={part.core}, or choose the part it was built for",
        )
    return found
