"""The image and the inference worker name a directory alike."""

from deploy.digest import directory_digest as worker_digest
from uvm.image.blobs import copy_synced, directory_digest, files_of


def test_both_sides_give_a_directory_the_same_digest(tmp_path):
    directory = tmp_path / "adapter"
    (directory / "deep").mkdir(parents=True)
    for name, text in (("a.json", "{}"), ("deep/b", "x" * 1000), ("Z", ""), (".left-out", "1")):
        (directory / name).write_text(text)
    digests = {}
    for number, path in enumerate(files_of(directory)):
        with path.open("rb") as reader:
            digests[path.relative_to(directory).as_posix()] = copy_synced(reader, tmp_path / f"copy-{number}")
    assert worker_digest(directory) == directory_digest(digests)
