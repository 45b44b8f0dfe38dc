"""flow_warp: resize a flow, add the identity grid, sample bilinearly with zeros outside."""

from facecycle_kernels.flow_warp.reference import flow_warp, resize_flow

__all__ = ["flow_warp", "resize_flow"]
