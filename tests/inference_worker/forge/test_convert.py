"""Converting the packaged model: refusals, and nothing half-written. The conversion itself is run by the service's own tests."""

from pathlib import Path

import pytest

from inference_worker import convert


def test_the_packaged_model_is_found_without_importing_its_package() -> None:
    packaged = convert.packaged_model()
    assert packaged.suffix == ".gguf"
    assert packaged.read_bytes()[:4] == b"GGUF"


def test_a_directory_that_exists_is_not_touched(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "kept").write_text("kept")
    assert convert.main([str(tmp_path)]) == 1
    assert "exists" in capsys.readouterr().err
    assert (tmp_path / "kept").read_text() == "kept"


def test_a_file_that_is_no_model_leaves_nothing_behind(tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.gguf"
    wrong.write_bytes(b"GGUF but not really")
    with pytest.raises(convert.ConversionError, match=r"wrong\.gguf"):
        convert.convert(wrong, tmp_path / "models" / "out")
    assert list((tmp_path / "models").iterdir()) == []


def test_a_missing_package_names_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(convert, "PACKAGE", "no-such-model-package")
    with pytest.raises(convert.ConversionError, match=r"inference\.model"):
        convert.packaged_model()
