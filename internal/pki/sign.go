package pki

import (
	"crypto"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"fmt"
	"path/filepath"
	"time"

	"github.com/redoubt-dr/redoubt"
)

// Signature says who signed a text. It is checked offline, with the authority's
// certificate alone.
type Signature struct {
	Certificate []byte // of the signer, DER
	Value       []byte // ECDSA over SHA-256, ASN.1
}

// Sign signs "CONTEXT\n" and text with the node's key. context says what the
// text is, so that no signature passes for one of another kind.
func (c *Credentials) Sign(context string, text []byte) (Signature, error) {
	m := c.now.Load()
	key, ok := m.cert.PrivateKey.(crypto.Signer)
	if !ok {
		return Signature{}, &redoubt.Error{Op: "sign", Object: context, Err: redoubt.ErrInvalid, Hint: "the key cannot sign"}
	}
	sum := signed(context, text)
	v, err := key.Sign(rand.Reader, sum[:], crypto.SHA256)
	if err != nil {
		return Signature{}, &redoubt.Error{Op: "sign", Object: context, Err: err}
	}
	return Signature{Certificate: m.cert.Leaf.Raw, Value: v}, nil
}

func signed(context string, text []byte) [32]byte {
	return sha256.Sum256(append([]byte(context+"\n"), text...))
}

// VerifySignature returns who signed the text: somebody with a certificate of the
// authority in caFile that was valid at the time at. ErrDenied if that is not so.
func VerifySignature(caFile, context string, text []byte, s Signature, at time.Time) (Identity, error) {
	fail := func(why string, err error) (Identity, error) {
		return Identity{}, &redoubt.Error{Op: "verify signature of", Object: context, Err: fmt.Errorf("%s: %w: %w", why, err, redoubt.ErrDenied)}
	}
	ca, err := readCert(caFile)
	if err != nil {
		return Identity{}, err
	}
	cert, err := x509.ParseCertificate(s.Certificate)
	if err != nil {
		return fail("the signer's certificate", err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(ca)
	if _, err := cert.Verify(x509.VerifyOptions{Roots: roots, CurrentTime: at, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}}); err != nil {
		return fail("the signer's certificate is not of the authority in "+filepath.Base(caFile)+", or was not valid then", err)
	}
	if err := cert.CheckSignature(x509.ECDSAWithSHA256, append([]byte(context+"\n"), text...), s.Value); err != nil {
		return fail("the text was changed", err)
	}
	return CertificateIdentity(cert)
}
