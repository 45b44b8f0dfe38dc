#!/usr/bin/env bash
# torch 2.14.1's fused Adam and AdamW on a CPU pair the wrong numbers, and say nothing, where a state or a gradient is
# laid out in another way than its parameter.
#
# One expects the result of the optimizer that is not fused, or the error that the same call raises on a GPU ("params,
# grads, exp_avgs, and exp_avg_sqs must have same dtype, device, and layout"). It is met by whoever trains convolutions in
# channels_last and resumes from a state that was saved contiguous, as safetensors files are: load_state_dict changes
# device and type of what it loads, not its layout. What to do: lay each state out as its parameter before it is loaded.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.14.1 numpy==2.4.6
cd "$folder"
venv/bin/python - <<'END'
import torch


def trained(fused: bool, relaid: bool) -> torch.Tensor:
    torch.manual_seed(0)
    weight = torch.nn.Parameter(torch.randn(8, 4, 3, 3).contiguous(memory_format=torch.channels_last))
    optimizer = torch.optim.AdamW([weight], lr=1e-2, fused=fused)
    for step in range(6):
        if relaid and step == 3:
            saved = optimizer.state_dict()
            saved["state"] = {0: {name: value.contiguous() for name, value in saved["state"][0].items()}}
            optimizer = torch.optim.AdamW([weight], lr=1e-2, fused=fused)
            optimizer.load_state_dict(saved)
        weight.grad = torch.randn(8, 4, 3, 3).contiguous(memory_format=torch.channels_last)
        optimizer.step()
    return weight.detach()


expected = trained(fused=False, relaid=False)
off = {
    (fused, relaid): (trained(fused, relaid) - expected).abs().max().item()
    for fused in (False, True)
    for relaid in (False, True)
}
for (fused, relaid), difference in off.items():
    print(f"torch {torch.__version__} fused={fused!s:5} state made contiguous={relaid!s:5} largest difference {difference:.1e}")
assert off[False, True] == 0 and off[True, False] < 1e-6 and off[True, True] > 1e-2, "the behaviour has changed"
END
