"""The shape of the tree: who may include what, what is banned, how long files may be, what the binary is made like."""
import glob
import os
import re
import subprocess
import unittest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.environ.get("KVASIR_BUILD", os.path.join(ROOT, "build/release"))
PRODUCT = ("core", "backends", "sessions", "rpc", "mcp")

# A folder may include itself and these; the longest matching prefix decides. Everything points downwards.
MAY_INCLUDE = {
    "core/base": (),
    "core/text": ("core/base", "backends/backend.h"),
    "core/sampling": ("core/base", "backends/backend.h", "core/text"),
    "core/model": ("core/base", "core/text", "core/sampling", "backends"),
    "core/engine": ("core/base", "core/text", "core/sampling", "core/model", "backends"),
    "backends": ("core/base",),
    "sessions": ("core", "backends"),
    "rpc": ("core/base",),
    "mcp": ("core", "backends", "sessions", "rpc"),
}

# Heavy or delicate headers: the only places (path prefixes) that may include them.
ONLY_IN = {
    r"omp\.h": ("backends/cpu/parallel",),
    r"asio(\.hpp|/.*)": ("rpc/net/",),
    r"websocketpp/.*": ("rpc/net/ws_codec.cpp",),
    r"spdlog/.*": ("core/base/log.cpp",),
    r"dlfcn\.h": ("backends/",),
    # In core two parsers of foreign JSON keep it to themselves: config.json, and what a chat template is given.
    r"nlohmann/.*": ("rpc/", "mcp/", "core/model/hf/json_value.cpp", "core/text/jinja/json_input.cpp"),
    r"CLI/.*": ("mcp/app/command_line.cpp",),
    r"toml\+\+/.*": ("mcp/app/config_file.cpp",),
    r"pcre2\.h": ("core/text/",),
    r"utf8proc\.h": ("core/text/",),
    r"sqlite3\.h": ("sessions/",),
    r"sodium\.h": ("sessions/",),
    r"(x?mm|imm)intrin\.h": ("backends/cpu/",),
    r"immintrin\.h": ("backends/cpu/",),
    r"iostream": (),
    r"regex": (),
}
ONE_FILE_EACH = (r"websocketpp/.*", r"spdlog/.*", r"CLI/.*", r"toml\+\+/.*", r"dlfcn\.h", r"sodium\.h")

BANNED = {
    r"std::(w?regex)\b": "std::regex can run for ever on untrusted text",
    r"\b(atoi|atol|atoll|atof)\s*\(": "no error reporting; use std::from_chars",
    r"\b(strcpy|strcat|sprintf|vsprintf|gets)\s*\(": "unbounded",
    r"\bstd::(stoi|stol|stoul|stoull|stof|stod)\s*\(": "throws and skips spaces; use std::from_chars",
    r"\bstd::(cout|clog)\b": "stdout belongs to results and messages",
    r"(?<![\w:>.])(std::)?(printf|puts|putchar)\s*\(": "stdout belongs to results and messages",
    r"\bstd::system\s*\(|(?<![\w.>:])popen\s*\(": "no shell",
    r"\busing namespace std;": "names collide",
    r"\bsrand\s*\(|(?<![\w.>:])rand\s*\(": "randomness comes from (seed, position)",
}


def repository_files():
    """Committed and new files, without what git ignores; without git (an unpacked archive) all but build/."""
    try:
        listed = subprocess.run(["git", "-C", ROOT, "-c", "safe.directory=*", "ls-files", "--cached", "--others", "--exclude-standard"],
                                capture_output=True, text=True, check=True).stdout.splitlines()
    except (OSError, subprocess.CalledProcessError):
        listed = [os.path.relpath(p, ROOT) for p in glob.glob(ROOT + "/**/*", recursive=True)]
        listed = [p for p in listed if not p.startswith("build/")]
    return sorted(p for p in set(listed) if os.path.isfile(os.path.join(ROOT, p)))


FILES = repository_files()
SOURCES = [p for p in FILES if p.endswith((".h", ".cpp", ".cu", ".cuh")) and p.split("/")[0] in PRODUCT]


def text_of(path):
    with open(os.path.join(ROOT, path), errors="replace") as f:
        return f.read()


def code_of(path):
    """The text without comments and string contents, lines kept."""
    def blank(match):
        return re.sub(r"[^\n]", " ", match.group(0)) if match.group(0)[0] == "/" else '""'
    return re.sub(r'//[^\n]*|/\*.*?\*/|R"(\w*)\(.*?\)\1"|"(?:\\.|[^"\\\n])*"', blank, text_of(path), flags=re.S)


def includes(path):
    return re.findall(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]', text_of(path), flags=re.M)


class Includes(unittest.TestCase):
    def test_dependencies_point_downwards(self):
        wrong = []
        for path in SOURCES:
            folder = max((f for f in MAY_INCLUDE if path.startswith(f + "/")), key=len, default=None)
            self.assertIsNotNone(folder, f"{path} lies in no known folder")
            for quote, name in includes(path):
                if name.split("/")[0] not in PRODUCT + ("tests", "examples"):
                    continue
                if not name.startswith((folder + "/",) + tuple(a if a.endswith(".h") else a + "/" for a in MAY_INCLUDE[folder])):
                    wrong.append(f"{path} includes {name}")
        self.assertEqual(wrong, [])

    def test_quoted_includes_are_paths_from_the_root(self):
        missing = [f"{path}: {name}" for path in SOURCES for quote, name in includes(path)
                   if quote == '"' and not os.path.exists(os.path.join(ROOT, name))]
        self.assertEqual(missing, [])

    def test_heavy_headers_stay_in_their_places(self):
        wrong, users = [], {}
        for path in SOURCES:
            for _, name in includes(path):
                for pattern, places in ONLY_IN.items():
                    if re.fullmatch(pattern, name):
                        users.setdefault(pattern, set()).add(path)
                        if not path.startswith(places or ("-",)):
                            wrong.append(f"{path} includes <{name}>")
        self.assertEqual(wrong, [])
        for pattern in ONE_FILE_EACH:
            self.assertLessEqual(len(users.get(pattern, ())), 1, f"{pattern} is included by {users.get(pattern)}")


class Sources(unittest.TestCase):
    def test_banned_calls(self):
        wrong = []
        for path in SOURCES:
            code = code_of(path)
            for pattern, why in BANNED.items():
                wrong += [f"{path}:{code.count(chr(10), 0, m.start()) + 1}: {m.group(0)} ({why})" for m in re.finditer(pattern, code)]
        self.assertEqual(wrong, [])

    def test_files_are_short(self):
        long = []
        for path in FILES:
            if not path.endswith((".h", ".cpp", ".cu", ".cuh", ".py", ".mjs")) and path != "x":
                continue
            limit = 600 if re.search(r"kernel|table|\.inl\.h$", path) else 400
            lines = text_of(path).count("\n")
            if lines > limit:
                long.append(f"{path}: {lines} lines, at most {limit}")
        self.assertEqual(long, [])

    def test_headers_have_a_guard_and_begin_with_what_they_are(self):
        wrong = [p for p in SOURCES if p.endswith(".h") and not p.endswith(".inl.h")
                 and not ("#pragma once" in text_of(p) and text_of(p).startswith("//"))]
        self.assertEqual(wrong, [])

    def test_sources_are_listed_not_globbed(self):
        wrong = [p for p in FILES if p.endswith("CMakeLists.txt") and re.search(r"file\s*\(\s*GLOB", text_of(p))]
        self.assertEqual(wrong, [])

    def test_nothing_names_a_registry_or_a_machine(self):
        # Written in pieces, so that this file passes its own test.
        hosts = ["pypi" + ".org", "python" + "hosted.org", "registry.npm" + "js", "deb.deb" + "ian.org", "npm" + "js.com/",
                 "host" + ".internal", "/wo" + "rk/", "/ro" + "ot/", "/home/" + "dev"]
        wrong = [f"{p}: {host}" for p in FILES if not p.endswith((".gguf", ".xz", ".bin", ".png")) for host in hosts if host in text_of(p)]
        self.assertEqual(wrong, [])


class Folders(unittest.TestCase):
    def test_every_folder_of_the_product_has_a_short_readme(self):
        folders = {p.split("/")[0] for p in SOURCES} | {"/".join(p.split("/")[:2]) for p in SOURCES if p.count("/") >= 2}
        folders |= {"tests", "examples"}
        wrong = []
        for folder in sorted(folders):
            readme = folder + "/README.md"
            if readme not in FILES:
                wrong.append(f"{readme} is missing")
            elif text_of(readme).count("\n") > 40:
                wrong.append(f"{readme}: {text_of(readme).count(chr(10))} lines, at most 40")
        self.assertEqual(wrong, [])

    def test_top_level_holds_only_what_the_readme_explains(self):
        readme = text_of("README.md")
        unexplained = sorted({p.split("/")[0] for p in FILES if f"`{p.split('/')[0]}" not in readme})
        self.assertEqual(unexplained, [])


class Binary(unittest.TestCase):
    def setUp(self):
        self.binary = os.path.join(BUILD, "bin/kvasir")
        if not os.path.exists(self.binary):
            self.skipTest("the release binary is not built")

    def readelf(self, *arguments):
        try:
            return subprocess.run(["readelf", "-W", *arguments, self.binary], capture_output=True, text=True, check=True).stdout
        except FileNotFoundError:
            self.skipTest("readelf is not installed")

    def test_is_hardened(self):
        self.assertIn("DYN (Position-Independent Executable", self.readelf("-h"))
        segments = self.readelf("-l")
        self.assertIn("GNU_RELRO", segments)
        stack = next(line for line in segments.splitlines() if "GNU_STACK" in line)
        self.assertNotIn("E", stack.replace("GNU_STACK", "").split("0x")[-2] + stack.split()[-2], "the stack is executable")
        self.assertFalse([line for line in segments.splitlines() if "LOAD" in line and "RWE" in line])
        self.assertRegex(self.readelf("-d"), r"BIND_NOW|FLAGS_1.*NOW")
        symbols = self.readelf("--dyn-syms")
        self.assertIn("__stack_chk_fail", symbols)
        self.assertRegex(symbols, r"__\w+_chk")

    def test_kernel_objects_hold_no_weak_symbols(self):
        """A weak copy of an inline function, built for AVX-512, may be the one that the linker keeps for everybody."""
        objects = [p for p in glob.glob(BUILD + "/backends/cpu/**/*.o", recursive=True) if re.search(r"/isa_(?!scalar)\w*\.cpp\.o$", p)]
        self.assertTrue(objects, "no ISA objects found: has the folder moved?")
        wrong = []
        for path in objects:
            for line in subprocess.run(["nm", path], capture_output=True, text=True, check=True).stdout.splitlines():
                if re.search(r" [WVvwu] ", line):
                    wrong.append(f"{os.path.basename(path)}: {line}")
        self.assertEqual(wrong, [])


class Scripts(unittest.TestCase):
    def test_shell_scripts_parse(self):
        for script in ("x", ".ci/run"):
            subprocess.run(["bash", "-n", os.path.join(ROOT, script)], check=True)
            self.assertTrue(os.access(os.path.join(ROOT, script), os.X_OK), script)

    def test_x_lists_its_commands_and_refuses_others(self):
        help_text = subprocess.run([os.path.join(ROOT, "x"), "help"], capture_output=True, text=True, check=True, cwd="/").stdout
        for command in ("run", "test", "deps", "build", "bench", "fmt", "lint", "san", "tsan", "fuzz", "clean"):
            self.assertRegex(help_text, rf"(?m)^  (\w+, )?{command}\b")
        refused = subprocess.run([os.path.join(ROOT, "x"), "frobnicate"], capture_output=True, text=True)
        self.assertEqual(refused.returncode, 2)
        self.assertIn("unknown command", refused.stderr)


if __name__ == "__main__":
    unittest.main()
