package pki

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/url"
	"slices"

	"github.com/redoubt-dr/redoubt"
)

// Role says what a certificate's holder may do.
type Role string

// The roles.
const (
	RoleSource   Role = "source"   // a host whose disks are protected
	RoleTarget   Role = "target"   // a node of the secondary site
	RoleOperator Role = "operator" // a person or script that may change things
	RoleViewer   Role = "viewer"   // one that may look
	RoleKeeper   Role = "keeper"   // one that may look, hold points and confirm the clock, and delete nothing
	RoleClient   Role = "client"   // one that uses disks over NBD, and nothing else
)

// Roles returns all roles.
func Roles() []Role {
	return []Role{RoleSource, RoleTarget, RoleOperator, RoleViewer, RoleKeeper, RoleClient}
}

// ParseRole reads a role's name.
func ParseRole(s string) (Role, error) {
	if r := Role(s); slices.Contains(Roles(), r) {
		return r, nil
	}
	return "", &redoubt.Error{Op: "parse role", Object: s, Hint: "roles are source, target, operator, viewer, keeper, client", Err: redoubt.ErrInvalid}
}

// Identity is who holds a certificate.
type Identity struct {
	Role Role
	Name string
}

// String returns "ROLE/NAME".
func (i Identity) String() string { return string(i.Role) + "/" + i.Name }

// URI returns the identity as the certificate carries it.
func (i Identity) URI() *url.URL {
	return &url.URL{Scheme: "redoubt", Host: string(i.Role), Path: "/" + i.Name}
}

// Validate checks role and name.
func (i Identity) Validate() error {
	if _, err := ParseRole(string(i.Role)); err != nil {
		return err
	}
	return redoubt.ValidName("certificate name", i.Name)
}

// CertificateIdentity returns the identity in cert. It must have exactly one.
func CertificateIdentity(cert *x509.Certificate) (Identity, error) {
	var found []Identity
	for _, u := range cert.URIs {
		if u.Scheme == "redoubt" && len(u.Path) > 1 {
			found = append(found, Identity{Role(u.Host), u.Path[1:]})
		}
	}
	if len(found) != 1 {
		return Identity{}, &redoubt.Error{Op: "read certificate", Object: cert.Subject.CommonName,
			Hint: "issue it with `redoubt ca issue`",
			Err:  fmt.Errorf("%d identities redoubt://ROLE/NAME, want one: %w", len(found), redoubt.ErrDenied)}
	}
	if err := found[0].Validate(); err != nil {
		return Identity{}, &redoubt.Error{Op: "read certificate", Object: cert.Subject.CommonName, Err: fmt.Errorf("%w: %w", redoubt.ErrDenied, err)}
	}
	return found[0], nil
}

// PeerIdentity returns the identity that the peer of a finished handshake has
// proved.
func PeerIdentity(s tls.ConnectionState) (Identity, error) {
	if len(s.PeerCertificates) == 0 {
		return Identity{}, &redoubt.Error{Op: "identify peer", Hint: "the peer must present a certificate", Err: redoubt.ErrDenied}
	}
	return CertificateIdentity(s.PeerCertificates[0])
}
