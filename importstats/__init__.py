"""Collect, analyse and show the progress of Milvus and Zilliz Cloud bulk imports."""

__version__ = "0.1.0"
