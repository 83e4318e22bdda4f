"""Anchor explanations of PyTorch models."""
