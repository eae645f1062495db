# SPDX-License-Identifier: Apache-2.0
"""What end-to-end tests are made of: real peers in their own folders and on their own ports, a raw
ICAP client that checks every byte, and certificates. One module for each; conftest.py makes fixtures
of them.

No test sleeps: it waits for an event, or asks again until a deadline (wait.until).
"""
from . import samples, wait
from .certs import Certificates
from .cicap import CIcap, cicap_client
from .clamd import Clamd
from .crowd import Crowd
from .icap import IcapConnection, IcapError, chunked, request
from .load import Load, load
from .origin import Origin
from .peers import free_port, need, on_ci
from .process import Process
from .sallyport import Sallyport, Way, build_dir
from .squid import Squid

__all__ = ["CIcap", "Certificates", "Clamd", "Crowd", "IcapConnection", "IcapError", "Load", "Origin", "Process",
           "Sallyport", "Squid", "Way", "build_dir", "chunked", "cicap_client", "free_port", "load", "need", "on_ci",
           "request", "samples", "wait"]
