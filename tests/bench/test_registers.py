"""The table of registers: what is read from ptxas' output, and what --check refuses."""

import shutil

import pytest

from bench import registers

if not shutil.which("c++filt"):
    pytest.skip("needs c++filt of binutils", allow_module_level=True)

COPY = "_ZN41_GLOBAL__N__0123abcd_9_im2col_cu_89abcdef13im2col_kernelIfEEvPKT_PS1_"
HALF = COPY.replace("If", "I6__half")


def entry(name, sm, registers, spilled=0, smem="", prefix="2026-11-21T18:44:00,123   "):
    """As pip's log holds it."""
    lines = [
        f"ptxas info    : Compiling entry function '{name}' for 'sm_{sm}'",
        f"ptxas info    : Function properties for {name}",
        f"    {spilled} bytes stack frame, {spilled} bytes spill stores, {2 * spilled} bytes spill loads",
        f"ptxas info    : Used {registers} registers, used 1 barriers{smem}, 384 bytes cmem[0]",
    ]
    return "".join(f"{prefix}{line}\n" for line in lines)


LOG = entry(COPY, "80", 40) + "[2/3] Building\n" + entry(COPY, "90a", 32, smem=", 4096 bytes smem") + entry(HALF, 80, 9)


def test_what_is_read():
    found = registers.usages(LOG)
    name = "im2col: im2col_kernel<{}>".format
    assert found == [
        (name("__half"), "80", 9, 0, 0),
        (name("float"), "80", 40, 0, 0),
        (name("float"), "90a", 32, 4096, 0),
    ]
    assert registers.problems(found, registers.table(found)) == []


def test_a_log_without_kernels_is_refused():
    with pytest.raises(SystemExit, match="no kernel"):
        registers.usages("ptxas info    : 0 bytes gmem\n")


def test_what_check_refuses(tmp_path, monkeypatch, capsys):
    log = tmp_path / "log"
    monkeypatch.setattr(registers, "TABLE", tmp_path / "registers.txt")

    def check(text):
        log.write_text(text)
        return registers.main([str(log), "--check"]), capsys.readouterr().err

    log.write_text(LOG)
    assert registers.main([str(log)]) == 0
    assert check(LOG) == (0, "")
    assert check(LOG.replace("Used 40", "Used 41")) == (0, ""), "another compiler may need other registers"
    code, said = check(LOG.replace(entry(HALF, 80, 9), entry(HALF, 80, 9, spilled=8)))
    assert code == 1 and "im2col_kernel<__half> spills 24 bytes on sm_80" in said
    code, said = check(LOG.replace(entry(HALF, 80, 9), ""))
    assert code == 1 and "im2col_kernel<__half> on sm_80 is in the table, but not in the build" in said
    code, said = check(LOG + entry(HALF, "90a", 9))
    assert code == 1 and "im2col_kernel<__half> on sm_90a is in the build, but not in the table" in said
