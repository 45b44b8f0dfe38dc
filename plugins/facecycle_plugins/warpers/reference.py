"""The `reference` warper: plain torch, any device, any H x W."""

from facecycle_kernels.flow_warp.reference import flow_warp
from facecycle_kernels.renormalize.reference import renormalize

from facecycle.api import Options as BaseOptions


class ReferenceWarper:
    """Both operations as the formulas say them, differentiated by autograd."""

    facecycle_api = (1, 0)
    Options = BaseOptions
    warp = staticmethod(flow_warp)
    renormalize = staticmethod(renormalize)

    def __init__(self, options: BaseOptions) -> None: ...
