"""A geometry as small as the gateware takes, so that whole frames fit into a proof."""

from openopu_rtl.protocol import Geometry

SMALL = Geometry(
    slm_width=8, slm_height=4, slm_h_front=1, slm_h_sync=1, slm_h_back=1, slm_v_front=1, slm_v_sync=1, slm_v_back=1,
    macropixel=1, modes_x=4, modes_y=2, signal_x=1, signal_y=1, anchor_x=6, anchor_y=1, anchor_width=1,
    anchor_height=2, camera_width=6, camera_height=5, crop_x=1, crop_y=0, crop_width=4, crop_height=4, bin=2,
    shot_depth=4, store_bytes=8, queue_depth=2, raw_rows=1,
)  # fmt: skip
