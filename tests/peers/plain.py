"""Writes a GGUF file whose tensors are the f32 values that those of another stand for, by the gguf Python package (0.19.0).

    pip install gguf==0.19.0 && python plain.py MODEL.gguf PLAIN.gguf
"""

import sys

import gguf
import numpy as np
from gguf import GGUFReader, GGUFValueType, GGUFWriter


def main() -> None:
    source, target = sys.argv[1:]
    reader = GGUFReader(source)
    writer = GGUFWriter(target, reader.fields["general.architecture"].contents())
    for name, field in reader.fields.items():
        # The first three are the header's; the writer writes these and the architecture itself.
        if name.startswith("GGUF.") or name in ("general.architecture", "general.file_type"):
            continue
        kind = field.types[0]
        writer.add_key_value(name, field.contents(), kind, field.types[-1] if kind == GGUFValueType.ARRAY else None)
    writer.add_file_type(gguf.LlamaFileType.ALL_F32)
    for tensor in reader.tensors:
        values = gguf.dequantize(tensor.data, tensor.tensor_type).astype(np.float32)
        writer.add_tensor(tensor.name, values.reshape(tensor.shape[::-1].tolist()))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


if __name__ == "__main__":
    main()
