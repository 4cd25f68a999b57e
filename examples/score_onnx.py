"Scores a recording by an exported run, with NumPy and onnxruntime alone: python score_onnx.py MODEL.onnx RECORDING.csv"

import json
import sys

import numpy as np
import onnxruntime


def read_csv(path, channels):
    "The columns of these names as float32 (channel, time); lines above the one that names them are passed over."
    with open(path) as file:
        names = next((line.strip().split(",") for line in file if set(channels) <= set(line.strip().split(","))), None)
        if names is None:
            sys.exit(f"{path}: no line names {', '.join(channels)}")
        table = np.loadtxt(file, delimiter=",", dtype=np.float32, ndmin=2)
    return np.ascontiguousarray(table[:, [names.index(c) for c in channels]].T)


session = onnxruntime.InferenceSession(sys.argv[1], providers=["CPUExecutionProvider"])
about = json.loads(session.get_modelmeta().custom_metadata_map["timemoe_lab"])
signal = read_csv(sys.argv[2], about["channels"])
if signal.shape[1] < about["shortest"] or not np.isfinite(signal).all():
    sys.exit(f"{sys.argv[2]}: expected at least {about['shortest']} samples, none of them missing")

(score,) = session.run(["score"], {"signal": signal})
whole = float(np.quantile(score, about["recording_quantile"]))
print(f"recording_score: {whole:.6g}")
print(f"alarm: {int(whole >= about['recording_threshold'])} (from {about['recording_threshold']:.6g})")
above = (score >= about["threshold"]).sum() * about["factor"] / about["fs"]
print(f"seconds above {about['threshold']:.6g}: {above:g}")
