"""What gRPC shows its clients: the certificate of now, asked for at each handshake."""

from __future__ import annotations

import threading

import grpc

from vecdb.certificates import Certificates, Shown


def credentials(certificates: Certificates) -> grpc.ServerCredentials:
    """Return credentials that follow the certificates; connections that are open stay."""
    lock = threading.Lock()  # guards the next
    last = certificates.shown

    def changed() -> grpc.ServerCertificateConfiguration | None:
        """Return what is new since the last handshake, if anything is."""
        nonlocal last
        with lock:
            if certificates.shown is last:
                return None
            last = certificates.shown
            return _configuration(last)

    return grpc.dynamic_ssl_server_credentials(
        _configuration(last),
        changed,  # type: ignore[arg-type]  # whose None says that nothing changed
        require_client_authentication=certificates.asks_clients,
    )


def _configuration(shown: Shown) -> grpc.ServerCertificateConfiguration:
    return grpc.ssl_server_certificate_configuration(
        [(shown.key, shown.chain)], root_certificates=shown.client_ca
    )
