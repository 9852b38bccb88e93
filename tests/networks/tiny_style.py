"""A decoder of style transfer for an encoder of two halvings."""

from posebridge.networks.adain import StyleTransferConfig

TINY = StyleTransferConfig(widths=(8, 6), depths=(1, 0), style_weight=1.0, identity_weight=50.0)
