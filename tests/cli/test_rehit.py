import shutil


def test_the_hits_of_a_run_are_decided_again(done, hitfinder, tmp_path):
    shutil.copytree(done, tmp_path / "run")
    result = hitfinder("rehit", tmp_path / "run", "--hit-threshold", "1e9", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith("60 of 60 frames processed, 0 hits (0 %)")
    assert (tmp_path / "run" / "hits.lst").read_text() == ""


def test_what_is_no_run_is_one_line(hitfinder, tmp_path):
    result = hitfinder("rehit", tmp_path, "--false-hits", "0.1", cwd=tmp_path)
    assert result.returncode == 2
    assert "holds no results of a run" in result.stderr
    assert len(result.stderr.splitlines()) == 1
    result = hitfinder("monitor", tmp_path, cwd=tmp_path)
    assert result.returncode == 2
    assert "holds neither the results of a run nor a run at work" in result.stderr
    assert len(result.stderr.splitlines()) == 1
    result = hitfinder("rehit", tmp_path, "--false-hits", "2", cwd=tmp_path)
    assert result.returncode == 2


def test_a_folder_of_a_run_is_viewed_as_a_page(done, hitfinder, tmp_path, monkeypatch):
    from hitfinder.cli import view

    shown = []
    monkeypatch.setattr(view, "show_page", lambda *given, **named: shown.append(given))
    assert hitfinder("view", done, cwd=tmp_path).returncode == 0
    assert shown == [(done, "127.0.0.1", 0)]
    result = hitfinder("view", done, "--zoom", 1, 1, 9, cwd=tmp_path)
    assert result.returncode == 2
    assert "the page of a run takes no --zoom" in result.stderr
