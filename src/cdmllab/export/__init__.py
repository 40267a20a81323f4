"""Backbones for other runtimes: ONNX, int8, OpenVINO; each file is checked against PyTorch before
it is kept.
"""
