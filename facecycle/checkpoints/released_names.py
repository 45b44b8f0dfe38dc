"""Names of the networks' tensors in the authors' released checkpoint, and in ours."""

from __future__ import annotations

# Ours to theirs, longest prefix first: the paper's code networks hold encoder and head in one.
PREFIXES = (
    ("expression.encoder.", "codegeneration."),
    ("expression.head.", "codegeneration.expresscode."),
    ("motion.", "exptoflow."),
    ("generator.stem.", "Swap_Generator."),
    ("generator.", "Swap_Generator."),
    ("identity.encoder.", "idcodegen."),
    ("identity.head.", "idcodegen.expresscode."),
    ("renormalizer.stem.", "Swap_Norm."),
    ("renormalizer.", "Swap_Norm."),
)


def released_name(name: str) -> str:
    """Map a tensor name of `FaceCycle.state_dict()` to `<network>.<key>` of the released checkpoint.

    Raises:
        KeyError: a name of no network of the paper.
    """
    for ours, theirs in PREFIXES:
        if name.startswith(ours):
            return theirs + name.removeprefix(ours)
    raise KeyError(name)
