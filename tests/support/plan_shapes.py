"""Models of the real kinds at a small size, to plan for in tests."""

from sdlearn.models.architectures import SD15, Architecture

REDUCED = Architecture(  # SD 1.5 with fewer and narrower layers of the same kinds
    unet={
        **SD15.unet,
        "sample_size": 16,
        "block_out_channels": (32, 64, 64, 64),
        "layers_per_block": 1,
        "cross_attention_dim": 64,
    },
    vae={**SD15.vae, "block_out_channels": (32, 32, 32, 32), "sample_size": 128},
    text_encoder={
        **SD15.text_encoder,
        "vocab_size": 1000,
        "hidden_size": 64,
        "intermediate_size": 256,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
    },
    scheduler=SD15.scheduler,
)
TINY = Architecture(  # as few layers as there can be, to plan in a moment; 4 pixels a latent
    unet={
        **REDUCED.unet,
        "block_out_channels": (32, 64),
        "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"),
        "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D"),
    },
    vae={
        **REDUCED.vae,
        "block_out_channels": (32,) * 3,
        "down_block_types": ("DownEncoderBlock2D",) * 3,
        "up_block_types": ("UpDecoderBlock2D",) * 3,
        "layers_per_block": 1,
    },
    text_encoder={**REDUCED.text_encoder, "num_hidden_layers": 1},
    scheduler=SD15.scheduler,
)
