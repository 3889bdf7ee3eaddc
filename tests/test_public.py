"""The names the package offers."""

from __future__ import annotations

import subprocess
import sys

import pytest

import tinysim


def test_public_names_are_sorted_and_all_there() -> None:
    assert list(tinysim.__all__) == sorted(tinysim.__all__)
    assert len(set(tinysim.__all__)) == len(tinysim.__all__)
    for name in tinysim.__all__:
        assert getattr(tinysim, name).__doc__


def test_public_names_are_complete() -> None:
    hidden = {"annotations", "sys", "Any", "ModuleType", "TYPE_CHECKING"}
    modules = {name for name in vars(tinysim) if f"tinysim.{name}" in sys.modules}
    offered = {name for name in vars(tinysim) if not name.startswith("_")} - hidden - modules
    assert offered <= set(tinysim.__all__)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'benchmark'"):
        tinysim.benchmark  # noqa: B018


def test_bench_and_run_stay_functions_after_their_modules_are_imported() -> None:
    program = "import tinysim.bench, tinysim.measure, tinysim; assert callable(tinysim.bench) and callable(tinysim.run)"
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, check=False).returncode == 0


def test_importing_the_package_loads_neither_engine_nor_compiler() -> None:
    program = (
        "import sys, tinysim; print([m for m in ('numba', 'unicorn', 'capstone', 'numpy', 'rich') if m in sys.modules])"
    )
    assert (
        subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.strip()
        == "[]"
    )


def test_errors_form_one_family_with_exit_codes() -> None:
    errors = [getattr(tinysim, name) for name in tinysim.__all__ if name.endswith("Error")]
    assert all(issubclass(error, tinysim.TinysimError) for error in errors)
    for error in errors:
        expected = 2 if issubclass(error, tinysim.InputError) else 3 if issubclass(error, tinysim.BudgetError) else 1
        assert error.exit_code == expected
    assert str(tinysim.PartError("no part", hint="look")) == "no part (look)"
    assert str(tinysim.PartError("no part")) == "no part"
