package pki

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"

	"github.com/redoubt-dr/redoubt"
)

// TLS alerts (RFC 8446 section 6) that a peer answers a handshake with.
const (
	alertHandshakeFailure   tls.AlertError = 40
	alertBadCertificate     tls.AlertError = 42
	alertCertificateExpired tls.AlertError = 45
	alertCertificateUnknown tls.AlertError = 46
	alertUnknownCA          tls.AlertError = 48
	alertProtocolVersion    tls.AlertError = 70
	alertCertRequired       tls.AlertError = 116
	alertNoProtocol         tls.AlertError = 120
)

// Explain turns what crypto/tls and crypto/x509 say about a failed handshake,
// at either side, into a redoubt.Error with a hint. Other errors are returned
// as they are. Certificate trouble is redoubt.ErrDenied.
func Explain(err error) error {
	var already *redoubt.Error
	if err == nil || errors.As(err, &already) {
		return err
	}
	say := func(what, hint string) error {
		return &redoubt.Error{Op: "tls handshake", Hint: hint, Err: fmt.Errorf("%s: %w: %w", what, redoubt.ErrDenied, err)}
	}
	const (
		renew = "check the clocks of both hosts; renew the certificate with `redoubt ca issue`"
		other = "both sides need certificates of the same authority (ca.crt)"
	)
	var (
		invalid x509.CertificateInvalidError
		unknown x509.UnknownAuthorityError
		plain   tls.RecordHeaderError
	)
	switch {
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return say("the peer's certificate has expired or is not valid yet", renew)
	case errors.As(err, &unknown):
		return say("the peer's certificate is of an unknown authority", other)
	case errors.As(err, &plain):
		return say("the peer does not speak TLS", "check address and port; plain-text connections are never accepted")
	}
	switch remoteAlert(err) {
	case alertCertificateExpired:
		return say("the peer says that our certificate has expired", renew)
	case alertUnknownCA:
		return say("the peer does not know the authority of our certificate", other)
	case alertCertRequired:
		return say("the peer wants a certificate", "give a folder with node.crt, node.key and ca.crt")
	case alertBadCertificate, alertCertificateUnknown:
		return say("the peer refuses our certificate", "issue it with `redoubt ca issue`")
	case alertNoProtocol:
		return say("the peer does not serve this protocol", "check address and port, and the roles in the peer's configuration")
	case alertProtocolVersion, alertHandshakeFailure:
		return say("no common TLS version", "Redoubt speaks TLS 1.3 only")
	}
	return err
}

// remoteAlert returns the alert that the peer sent, or 0. crypto/tls reports it
// in a type of its own, whose text is that of the exported AlertError.
func remoteAlert(err error) tls.AlertError {
	var op *net.OpError
	if !errors.As(err, &op) || op.Op != "remote error" || op.Err == nil {
		return 0
	}
	for a := tls.AlertError(1); a < 255; a++ {
		if a.Error() == op.Err.Error() {
			return a
		}
	}
	return 0
}
