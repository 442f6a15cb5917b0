#!/usr/bin/env bash
# Publishes the TorchSharp peer as a folder that needs neither .NET nor libtorch of its own, packed for a machine with PyTorch.
#   usage: bench/TorchSharpPeer/publish.sh [FILE]        default: artifacts/torchsharp-peer.tar.xz
# There: unpack it and run torchsharp-peer with PyTorch's library folder and the unpacked one on LD_LIBRARY_PATH (bench/peer_torchsharp.py does both).
set -euo pipefail
cd "$(dirname "$0")/../.."
file=${1:-artifacts/torchsharp-peer.tar.xz}
folder=$(mktemp -d); trap 'rm -rf "$folder"' EXIT
dotnet publish -c Release -v q -m:1 -r linux-x64 --self-contained -p:PublishTrimmed=true -p:PublishDir="$folder/" bench/TorchSharpPeer/TorchSharpPeer.csproj
# What TorchSharp can do beside computing: images and archives.
rm -f "$folder"/libSkiaSharp.so "$folder"/SkiaSharp.dll "$folder"/*.pdb
mkdir -p "$(dirname "$file")"
tar -C "$folder" -cJf "$file" .
echo "$file: $(du -h "$file" | cut -f1)"
