"""The table of faults is whole, whichever processes ran the modules and in which order."""

from pathlib import Path

from fault_table import FaultRow, FaultTable


def test_last_module_to_end_makes_the_table_whole(tmp_path: Path) -> None:
    page = tmp_path / "build" / "faults.md"
    tables = [FaultTable(page, name) for name in ("test_b", "test_a", "test_empty")]
    for table, group in zip(tables, ("second", "first"), strict=False):
        table.add(FaultRow(group, f"fault | of {group}", "expected", "seen\nin two lines", "none"))
        table.add(FaultRow(group, f"another of {group}", "expected", "seen", "none"))
    for table in tables:
        table.write()
    text = page.read_text()
    assert "4 faults." in text
    assert text.index("## first") < text.index("## second")
    assert "| fault \\| of first | expected | seen in two lines | none |" in text

    # Another run of a module replaces its rows.
    again = FaultTable(page, "test_b")
    again.add(FaultRow("second", "the only one", "expected", "seen", "none"))
    again.write()
    assert "3 faults." in page.read_text() and "another of second" not in page.read_text()


def test_places_in_the_sources_of_ros_are_left_out(tmp_path: Path) -> None:
    page = tmp_path / "faults.md"
    table = FaultTable(page, "test_c")
    seen = "no key at line 3, at /build/src/parse.c:835, at /build/src/rcl/arguments.c:415; see /a/b.yaml"
    table.add(FaultRow("group", "fault", "expected", seen, "none"))
    table.write()
    assert "| no key at line 3; see /a/b.yaml |" in page.read_text()
