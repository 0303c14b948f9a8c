//! nnc-onnx
