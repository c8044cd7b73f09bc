package pki

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/redoubt-dr/redoubt"
)

// Credentials are a node's own certificate and the authority that it trusts.
// They may be shared and used concurrently, also during Reload.
type Credentials struct {
	id  Identity
	dir string
	now atomic.Pointer[material]
	mu  sync.Mutex // one Reload at a time
}

// material is what one reading of the folder gave. It does not change.
type material struct {
	cert tls.Certificate
	ca   *x509.Certificate
	pool *x509.CertPool // of ca
}

// Load reads node.crt, node.key and ca.crt from dir.
func Load(dir string) (*Credentials, error) {
	id, m, err := read(dir)
	if err != nil {
		return nil, err
	}
	c := &Credentials{id: id, dir: dir}
	c.now.Store(m)
	return c, nil
}

func read(dir string) (Identity, *material, error) {
	fail := func(err error) (Identity, *material, error) { return Identity{}, nil, err }
	cert, key, err := readPair(filepath.Join(dir, NodeCertFile), filepath.Join(dir, NodeKeyFile))
	if err != nil {
		return fail(err)
	}
	id, err := CertificateIdentity(cert)
	if err != nil {
		return fail(err)
	}
	ca, err := readCert(filepath.Join(dir, CACertFile))
	if err != nil {
		return fail(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(ca)
	if err := cert.CheckSignatureFrom(ca); err != nil {
		return fail(&redoubt.Error{Op: "load certificate", Object: dir, Hint: "node.crt and ca.crt come from different authorities",
			Err: fmt.Errorf("%w: %w", redoubt.ErrInvalid, err)})
	}
	return id, &material{cert: tls.Certificate{Certificate: [][]byte{cert.Raw}, PrivateKey: key, Leaf: cert}, ca: ca, pool: pool}, nil
}

// Identity returns whose credentials these are.
func (c *Credentials) Identity() Identity { return c.id }

// ServerTLS returns a fresh configuration for accepting: TLS 1.3, a client
// certificate of our authority with a valid identity is required. protos are
// the ALPN protocols, in order of preference. It follows Reload: each handshake
// uses what is current, connections that exist go on.
func (c *Credentials) ServerTLS(protos ...string) *tls.Config {
	cfg := c.now.Load().server(protos)
	cfg.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) { return c.now.Load().server(protos), nil }
	return cfg
}

func (m *material) server(protos []string) *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{m.cert}, NextProtos: protos,
		ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: m.pool,
		// Nothing resumes: each connection proves its identity anew.
		SessionTicketsDisabled: true,
		VerifyConnection: func(s tls.ConnectionState) error {
			_, err := PeerIdentity(s)
			return err
		},
	}
}

// ClientTLS returns a fresh configuration for connecting: the server must have
// a certificate of our authority and one of wantRoles (any role if empty). proto
// is the ALPN protocol; an empty one leaves ALPN to the caller (HTTP). It is
// for one connection, or for a program that ends soon: it does not follow Reload.
func (c *Credentials) ClientTLS(proto string, wantRoles ...Role) *tls.Config {
	m := c.now.Load()
	cfg := &tls.Config{
		MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{m.cert},
		// The chain and the role are checked below; only the host name is not.
		InsecureSkipVerify: true,
		VerifyConnection:   func(s tls.ConnectionState) error { return m.verifyServer(s, wantRoles) },
	}
	if proto != "" {
		cfg.NextProtos = []string{proto}
	}
	return cfg
}

func (m *material) verifyServer(s tls.ConnectionState, want []Role) error {
	id, err := PeerIdentity(s)
	if err != nil {
		return err
	}
	inter := x509.NewCertPool()
	for _, x := range s.PeerCertificates[1:] {
		inter.AddCert(x)
	}
	_, err = s.PeerCertificates[0].Verify(x509.VerifyOptions{Roots: m.pool, Intermediates: inter, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}})
	if err != nil {
		return Explain(err)
	}
	if len(want) > 0 && !slices.Contains(want, id.Role) {
		return &redoubt.Error{Op: "check peer", Object: id.String(), Hint: "check the address: this is not the kind of node that was meant",
			Err: fmt.Errorf("role %s, want %v: %w", id.Role, want, redoubt.ErrDenied)}
	}
	return nil
}
