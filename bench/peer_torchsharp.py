"""The peer in C#: Gemma 2 with LoRA in eager TorchSharp (bench/TorchSharpPeer), on the libraries of this machine's PyTorch. One JSON line, as peer_huggingface.py prints it.

    bench/TorchSharpPeer/publish.sh                      # where there is a .NET SDK
    python3 bench/peer_torchsharp.py --package artifacts/torchsharp-peer.tar.xz --variant 9b [--batch 4 --seq 2048 --steps 6 --no-checkpointing]
"""
import argparse
import importlib.util
import json
import os
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path


def unpack(package, folder):
    """The program in `folder`, unpacked once."""
    program = Path(folder) / "torchsharp-peer"
    if not program.exists():
        with tarfile.open(package) as files:
            files.extractall(folder, filter="data")
    return program


def torch_library():
    """PyTorch's own folder of native libraries, found without importing it."""
    spec = importlib.util.find_spec("torch")
    if spec is None:
        raise SystemExit("peer_torchsharp: this Python has no torch; TorchSharp needs PyTorch's libraries")
    return Path(spec.origin).parent / "lib"


def run(program, *arguments, timeout=None):
    """The program's JSON, or {"error": its last line}."""
    environment = dict(os.environ, LD_LIBRARY_PATH=f"{torch_library()}:{program.parent}:{os.environ.get('LD_LIBRARY_PATH', '')}", DOTNET_SYSTEM_GLOBALIZATION_INVARIANT="1")
    try:
        done = subprocess.run([str(program), *map(str, arguments)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment, timeout=timeout)
    except subprocess.TimeoutExpired:
        return dict(peer="torchsharp", error=f"no result within {timeout} s")
    if done.returncode == 0:
        return json.loads(done.stdout.splitlines()[-1])
    said = [line for line in (done.stderr + done.stdout).splitlines() if line.strip()]
    return dict(peer="torchsharp", error=f"code {done.returncode}: " + " | ".join(said[:3])[:400])


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--package", required=True)
    arguments.add_argument("--timeout", type=float)
    options, rest = arguments.parse_known_args()
    with tempfile.TemporaryDirectory() as folder:
        result = run(unpack(options.package, folder), *rest, timeout=options.timeout)
    print(json.dumps(result), flush=True)
    sys.exit(1 if "error" in result else 0)


if __name__ == "__main__":
    main()
