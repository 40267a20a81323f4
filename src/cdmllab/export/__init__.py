"""Export backbones to ONNX, int8 and OpenVINO, checking each file against PyTorch."""
