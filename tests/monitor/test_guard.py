import json
from urllib.parse import urlsplit

import pytest

NOTE = json.dumps({"text": "x"})


def test_the_page_loads_nothing_from_elsewhere(served):
    status, headers, body = served.ask("/")
    assert status == 200
    assert b"http" not in body.replace(b"http-equiv", b"")
    policy = headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; script-src 'self'")
    assert "unsafe" not in policy
    total = len(body)
    for name in ("style.css", "main.js", "viewer.js", "vendor/uPlot-1.6.32.min.js"):
        status, headers, text = served.ask(f"/page/{name}")
        assert status == 200
        assert headers["x-content-type-options"] == "nosniff"
        total += len(text)
    assert total < 2e6


@pytest.mark.parametrize(
    "path",
    [
        "/page/../app.py",
        "/page/%2e%2e/app.py",
        "/page/..%2fapp.py",
        "/page//etc/passwd",
        "/run.json",
        "/page/",
        "/api/frame/../../etc/passwd",
        "/api/frame/-1",
        "/api/frame/1e3",
    ],
)
def test_no_path_reaches_the_files(served, path):
    assert served.ask(path)[0] == 404


@pytest.mark.parametrize("host", ["evil.example", "evil.example:80", "", "127.0.0.1.evil.example"])
def test_another_name_of_this_machine_is_refused(served, host):
    assert served.ask("/api/summary", host=host)[0] == 403


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "[::1]"])
def test_names_of_this_machine_are_answered(served, host):
    assert served.ask("/api/about", host=f"{host}:{served.port}")[0] == 200


def test_other_origins_are_refused(served):
    own = f"http://127.0.0.1:{served.port}"
    assert served.ask("/api/about", origin=own)[0] == 200
    for origin in ("http://evil.example", f"https://127.0.0.1:{served.port}", "null"):
        assert served.ask("/api/about", origin=origin)[0] == 403
    assert served.ask("/api/about", sec_fetch_site="cross-site")[0] == 403
    assert served.ask("/api/notes", "POST", NOTE)[0] == 403
    assert served.ask("/api/notes", "POST", NOTE, origin="http://evil.example")[0] == 403
    assert not (served.folder / "notes.json").exists()


def test_long_requests_are_refused(served):
    own = f"http://127.0.0.1:{served.port}"
    long = json.dumps({"text": "x" * (1 << 16)})
    assert served.ask("/api/notes", "POST", long, origin=own)[0] == 413
    assert served.ask("/api/notes", "POST", "[" * 60000, origin=own)[0] == 400
    assert not (served.folder / "notes.json").exists()


def test_other_machines_need_the_token(finished, serve):
    with serve(finished, host="0.0.0.0") as served:
        token = urlsplit(served.server.address).query
        assert token.startswith("token=")
        assert served.ask("/")[0] == served.ask("/api/about")[0] == 401
        assert served.ask("/?token=wrong")[0] == 401
        status, headers, _ = served.ask(f"/?{token}")
        assert (status, headers["location"]) == (303, "/")
        cookie = headers["set-cookie"]
        assert "HttpOnly" in cookie
        assert "strict" in cookie.lower()
        cookie = cookie.partition(";")[0]
        assert served.ask("/api/about", cookie=cookie)[0] == 200
        assert served.ask("/api/about", cookie=cookie, origin="http://evil.example")[0] == 403


def test_notes_are_kept_in_the_folder(finished, serve, tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    for name in ("run.json", "frames.parquet", "peaks.parquet"):
        (folder / name).write_bytes((finished / name).read_bytes())
    with serve(folder) as served:
        own = {"origin": f"http://127.0.0.1:{served.port}"}

        def post(told):
            status, _, body = served.ask("/api/notes", "POST", json.dumps(told), **own)
            return status, json.loads(body)

        assert served.json("/api/notes") == {"notes": []}
        assert post({"text": "ice?", "mark": "look", "frame": 7})[0] == 200
        status, told = post({"text": "<b>good</b>"})
        assert [note["text"] for note in told["notes"]] == ["ice?", "<b>good</b>"]
        kept = json.loads((folder / "notes.json").read_text())["notes"]
        assert kept == told["notes"]
        for bad in (
            {"text": ""},
            {"text": 5},
            {"mark": "x"},
            {"text": "x", "frame": "../a"},
            [],
            3,
        ):
            assert post(bad)[0] == 400
        name = kept[0]["id"]
        assert served.ask(f"/api/notes/{name}", "DELETE", "{}", **own)[0] == 200
        assert len(served.json("/api/notes")["notes"]) == 1
        (folder / "notes.json").write_text("{}")
        status, _, body = served.ask("/api/notes")
        assert status == 400
        assert "holds no notes" in json.loads(body)["error"]
