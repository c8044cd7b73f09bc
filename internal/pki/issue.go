package pki

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"math/big"
	"net"
	"net/url"
	"path/filepath"
	"time"

	"github.com/redoubt-dr/redoubt"
)

// The files of an authority's and of a node's folder.
const (
	CACertFile   = "ca.crt"
	CAKeyFile    = "ca.key"
	NodeCertFile = "node.crt"
	NodeKeyFile  = "node.key"
)

// skew is how far back a certificate's validity begins, for hosts whose clocks
// are behind.
const skew = time.Hour

// InitCA makes a new authority in dir: ca.crt and ca.key (mode 0600). It never
// overwrites one (redoubt.ErrExists).
func InitCA(dir, name string, validity time.Duration) error {
	return initCA(dir, name, time.Now(), validity)
}

func initCA(dir, name string, now time.Time, validity time.Duration) error {
	if err := redoubt.ValidName("authority name", name); err != nil {
		return err
	}
	if err := checkValidity(validity); err != nil {
		return err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	serial, err := newSerial()
	if err != nil {
		return err
	}
	tmpl := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: name, Organization: []string{"Redoubt"}},
		NotBefore: now.Add(-skew), NotAfter: now.Add(validity),
		IsCA: true, BasicConstraintsValid: true, MaxPathLenZero: true,
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign | x509.KeyUsageDigitalSignature,
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &key.PublicKey, key)
	if err != nil {
		return err
	}
	return writePair(dir, CACertFile, CAKeyFile, der, key)
}

// Issue makes a certificate for id, signed by the authority in caDir, and puts
// node.crt, node.key (mode 0600) and a copy of ca.crt into outDir. hosts are
// names or IP addresses for clients that check them, such as curl. It never
// overwrites a key (redoubt.ErrExists).
func Issue(caDir, outDir string, id Identity, hosts []string, validity time.Duration) error {
	return issue(caDir, outDir, id, hosts, time.Now(), validity)
}

func issue(caDir, outDir string, id Identity, hosts []string, now time.Time, validity time.Duration) error {
	if err := id.Validate(); err != nil {
		return err
	}
	if err := checkValidity(validity); err != nil {
		return err
	}
	ca, caKey, err := readPair(filepath.Join(caDir, CACertFile), filepath.Join(caDir, CAKeyFile))
	if err != nil {
		return err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	serial, err := newSerial()
	if err != nil {
		return err
	}
	tmpl := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: id.Name, Organization: []string{"Redoubt"}},
		NotBefore: now.Add(-skew), NotAfter: now.Add(validity), URIs: []*url.URL{id.URI()},
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
	}
	if tmpl.NotAfter.After(ca.NotAfter) {
		tmpl.NotAfter = ca.NotAfter
	}
	for _, h := range hosts {
		if ip := net.ParseIP(h); ip != nil {
			tmpl.IPAddresses = append(tmpl.IPAddresses, ip)
		} else {
			tmpl.DNSNames = append(tmpl.DNSNames, h)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, ca, &key.PublicKey, caKey)
	if err != nil {
		return &redoubt.Error{Op: "issue certificate", Object: id.String(), Err: err}
	}
	if err := writePair(outDir, NodeCertFile, NodeKeyFile, der, key); err != nil {
		return err
	}
	return writePEM(filepath.Join(outDir, CACertFile), "CERTIFICATE", ca.Raw, 0o644, false)
}

func checkValidity(v time.Duration) error {
	if v > 0 {
		return nil
	}
	return &redoubt.Error{Op: "check validity", Object: v.String(), Err: fmt.Errorf("must be positive: %w", redoubt.ErrInvalid)}
}

func newSerial() (*big.Int, error) {
	return rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
}
