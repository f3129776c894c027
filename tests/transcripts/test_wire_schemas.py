"""Everything that the server says in the transcripts is valid by the official schema of its MCP version."""
import os
import subprocess
import tempfile
import unittest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.environ.get("KVASIR_BUILD", os.path.join(ROOT, "build/release"))
SHARED_DATA = os.environ.get("KVASIR_SHARED_DATA", os.path.join(ROOT, "../shared/data"))
SCHEMAS = os.path.join(SHARED_DATA, "../mcp-schema")
PLAYER = os.path.join(BUILD, "bin/transcripts_test")

try:
    import validate
except ImportError:
    validate = None


@unittest.skipUnless(validate, "the Python package jsonschema is not installed")
@unittest.skipUnless(os.path.isdir(SCHEMAS), "shared/mcp-schema is not beside the checkout")
@unittest.skipUnless(os.path.exists(PLAYER), "transcripts_test is not built")
class WireSchemas(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        with tempfile.TemporaryDirectory() as folder:
            wire = os.path.join(folder, "wire.jsonl")
            subprocess.run([PLAYER], env={**os.environ, "KVASIR_WIRE_FILE": wire}, check=True, capture_output=True)
            with open(wire) as f:
                cls.lines = f.readlines()

    def test_every_message_is_valid(self):
        count, problems = validate.check(SCHEMAS, self.lines)
        self.assertEqual(problems, [])
        self.assertGreater(count, 100)

    def test_every_version_is_covered(self):
        spoken = {validate.json.loads(line)["version"] for line in self.lines}
        self.assertLessEqual({"2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25", "2026-07-28"}, spoken)

    def test_the_check_notices(self):
        bad = {"message": {"jsonrpc": "2.0", "id": 1, "result": {"content": [{"type": "stream"}]}}, "version": "2025-11-25",
               "method": "tools/call"}
        null_id = {"message": {"jsonrpc": "2.0", "id": None, "error": {"code": -32700, "message": "x"}}, "version": "2026-07-28"}
        no_type = {"message": {"jsonrpc": "2.0", "id": 1, "result": {"tools": []}}, "version": "2026-07-28", "method": "tools/list"}
        for entry in (bad, null_id, no_type):
            self.assertTrue(validate.check(SCHEMAS, [validate.json.dumps(entry)])[1])


if __name__ == "__main__":
    unittest.main()
