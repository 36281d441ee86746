"""scripts/options_table.py: what it writes it also accepts, and every option is in what it writes."""

import pathlib
import re
import subprocess
import sys
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "scripts" / "options_table.py"


def run(*arguments):
    return subprocess.run([sys.executable, SCRIPT, *arguments], capture_output=True, text=True, check=False)


class OptionsTableTest(unittest.TestCase):
    def names(self):
        return re.findall(r"^OPTION\(\w+, (\w+),", (ROOT / "libleakshim" / "options.def").read_text(), re.M)

    def test_table_and_manual_name_every_option(self):
        self.assertGreater(len(self.names()), 30)
        table, manual = run().stdout, re.sub(r"\\f.", " ", run("--man").stdout)
        for name in self.names():
            self.assertRegex(table, rf"\b{name}\b")
            self.assertRegex(manual, rf"\b{name}\b")

    def test_every_row_has_four_cells(self):
        for row in run().stdout.splitlines():
            self.assertEqual(row.count("|"), 5, row)

    def test_write_then_check(self):
        with tempfile.TemporaryDirectory() as folder:
            readme = pathlib.Path(folder) / "README.md"
            readme.write_text("before\n<!-- options -->\nold\n<!-- /options -->\nafter\n")
            self.assertEqual(run("--check", readme).returncode, 1)
            self.assertEqual(run("--write", readme).returncode, 0)
            self.assertEqual(run("--check", readme).returncode, 0)
            text = readme.read_text()
            self.assertTrue(text.startswith("before\n<!-- options -->\n| key |"))
            self.assertTrue(text.endswith("|\n<!-- /options -->\nafter\n"))

    def test_missing_marker_is_an_error(self):
        with tempfile.TemporaryDirectory() as folder:
            readme = pathlib.Path(folder) / "README.md"
            readme.write_text("no table\n")
            result = run("--check", readme)
            self.assertNotEqual(result.returncode, 0)
            self.assertIn("<!-- options -->", result.stderr)


if __name__ == "__main__":
    unittest.main()
