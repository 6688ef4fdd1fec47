"""Imagic: edit one picture by a prompt. Source: Kawar et al. 2022, arXiv:2210.09276."""
