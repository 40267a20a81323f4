"""Write a model card for the Hugging Face hub, and upload its folder."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from cdmllab._util.files import replacing, write_text
from cdmllab.backbones import weights
from cdmllab.errors import CdmlLabError, cause, optional

CARD, MODEL = "README.md", "model.safetensors"


class Result(NamedTuple):
    """The accuracy on a protocol, in percent."""

    protocol: str
    accuracy: float
    standard_error: float


def write(
    release: Path,
    folder: Path,
    *,
    title: str,
    about: str,
    trained_on: str,
    terms: str,
    results: Sequence[Result],
    notes: Sequence[str] = (),
) -> Path:
    """Write ``model.safetensors`` and ``README.md``; the same input gives the same bytes.

    Parameters
    ----------
    release : a released network, see `cdmllab.backbones.weights`
    folder : of both files
    about : description of the network, one or two sentences
    trained_on, terms : the training set and its terms of use, which the network inherits
    notes : known deviations and limits, a sentence each
    """
    metadata = weights.release(release)
    folder.mkdir(parents=True, exist_ok=True)
    # A copy, so that the folder can be uploaded as it is.
    with replacing(folder / MODEL) as temporary:
        temporary.write_bytes(release.read_bytes())
    head = _front_matter(title, metadata, trained_on, results)
    table = "\n".join(
        f"| {r.protocol} | {r.accuracy:.2f} | {r.standard_error:.2f} |" for r in results
    )
    listed = "\n".join(f"- {note}" for note in notes) or "- none known"
    text = f"""---
{yaml.safe_dump(head, sort_keys=False, allow_unicode=True).rstrip()}
---

# {title}

{about}

## Results

| protocol | accuracy, % | standard error |
|---|---|---|
{table}

Accuracy is 10-fold, with the threshold of each fold chosen on the nine others. The embedding of
the mirrored image is added if a mirrored image shows the same person.

## Use

```python
from cdmllab.backbones import weights

net, release = weights.load_release("{MODEL}")  # see release.preprocessing
```

The network takes {metadata.preprocessing["size"]} x {metadata.preprocessing["size"]} aligned faces
({metadata.preprocessing["channels"]}) and gives embeddings that are compared by their cosine.
Choose a threshold on data like yours: `cdmllab evaluate --threshold-from`.

## Training data and terms

{trained_on}. {terms[:1].upper()}{terms[1:].rstrip(".")}. The network inherits these terms.

## Known deviations and limits

{listed}
- Recognising people without their consent is forbidden in many places, and error rates differ
  between groups of people.
"""
    write_text(folder / CARD, text)
    return folder / CARD


def push(folder: Path, repository: str, *, private: bool = True) -> str:
    """Upload a folder of `write` to the Hugging Face hub; return the model's address.

    Raises
    ------
    CdmlLabError : no card in the folder, the client is not installed, or the hub refuses
    """
    if not (folder / CARD).is_file() or not (folder / MODEL).is_file():
        raise CdmlLabError(f"{folder} needs {CARD} and {MODEL}: `cdmllab reproduce` writes both")
    with optional("fetch", "an upload"):
        from huggingface_hub import HfApi
    try:
        hub = HfApi(library_name="cdmllab")
        hub.create_repo(repository, private=private, exist_ok=True)
        done = hub.upload_folder(
            repo_id=repository, folder_path=folder, allow_patterns=[CARD, MODEL]
        )
    except Exception as error:  # the client raises many kinds
        raise CdmlLabError(f"the hub refused {folder} as {repository}: {cause(error)}") from error
    # Not every version of the client returns a commit with the repository's address.
    return str(done.repo_url if hasattr(done, "repo_url") else done)


def _front_matter(
    title: str, metadata: weights.Release, trained_on: str, results: Sequence[Result]
) -> Mapping[str, Any]:
    loss = metadata.config.get("loss", {}).get("name", "")
    # The hub's own keys: an unlisted licence is `other` with a name.
    return {
        "license": "other",
        "license_name": "as-the-training-data",
        "library_name": "cdmllab",
        "tags": ["face-recognition", "metric-learning", metadata.name, *([loss] if loss else [])],
        "metrics": ["accuracy"],
        "model-index": [
            {
                "name": title,
                "results": [
                    {
                        "task": {"type": "face-verification", "name": "Face verification"},
                        "dataset": {"name": r.protocol, "type": r.protocol.replace("/", "-")},
                        "metrics": [
                            {
                                "type": "accuracy",
                                "name": "10-fold accuracy, %",
                                "value": round(r.accuracy, 3),
                            }
                        ],
                    }
                    for r in results
                ],
            }
        ],
    }
