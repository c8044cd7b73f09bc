package admin

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"connectrpc.com/connect"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/admin/v1/adminv1connect"
	"github.com/redoubt-dr/redoubt/internal/pki"
)

// Client calls one node. Its errors are those of the node (see FromConnect).
// It may be used concurrently.
type Client struct {
	adminv1connect.AdminServiceClient
	target string
	via    string // nodes that have forwarded what this client calls for; empty: none
	tr     *http.Transport
}

// Dial returns a client of the node at target, "unix:/PATH" or
// "https://HOST:PORT"; "HOST:PORT" is short for the latter. cred is needed
// for https only: our certificate, and the authority that the node's must be of. No
// connection is made before the first call. Close it after use.
func Dial(target string, cred *pki.Credentials) (*Client, error) {
	c := &Client{target: target}
	base := ""
	o := []connect.ClientOption{connect.WithInterceptors(outgoing{c}), connect.WithReadMaxBytes(maxMessage)}
	dialer := &net.Dialer{Timeout: 10 * time.Second}
	c.tr = &http.Transport{DialContext: dialer.DialContext, TLSHandshakeTimeout: 10 * time.Second, IdleConnTimeout: time.Minute}
	switch {
	case strings.HasPrefix(target, "unix:") && len(target) > len("unix:"):
		path := strings.TrimPrefix(strings.TrimPrefix(target, "unix:"), "//")
		c.tr.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
			return dialer.DialContext(ctx, "unix", path)
		}
		base = "http://localhost"
		o = append(o, connect.WithAcceptCompression("gzip", nil, nil)) // it costs more than the copy that it saves
	default:
		host, err := hostPort(target)
		if err != nil {
			return nil, err
		}
		if cred == nil {
			return nil, &redoubt.Error{Op: "connect to", Object: target, Err: fmt.Errorf("no client certificate: %w", redoubt.ErrDenied),
				Hint: "name the folder with node.crt, node.key and ca.crt: --identity DIR or REDOUBT_IDENTITY"}
		}
		c.tr.TLSClientConfig = cred.ClientTLS("", pki.RoleSource, pki.RoleTarget)
		c.tr.ForceAttemptHTTP2 = true
		base = "https://" + host
	}
	c.AdminServiceClient = adminv1connect.NewAdminServiceClient(&http.Client{Transport: c.tr}, base, o...)
	return c, nil
}

// NeedsIdentity reports whether Dial needs credentials for target. It refuses
// an address that Dial would refuse.
func NeedsIdentity(target string) (bool, error) {
	if strings.HasPrefix(target, "unix:") && len(target) > len("unix:") {
		return false, nil
	}
	_, err := hostPort(target)
	return err == nil, err
}

// Target returns what Dial was given.
func (c *Client) Target() string { return c.target }

// Close gives up idle connections.
func (c *Client) Close() { c.tr.CloseIdleConnections() }

func hostPort(target string) (string, error) {
	bad := func(err error) error {
		return &redoubt.Error{Op: "read server address", Object: target, Err: fmt.Errorf("%w: %w", redoubt.ErrInvalid, err),
			Hint: "unix:/run/redoubt/admin.sock or https://HOST:PORT"}
	}
	host := target
	if strings.Contains(target, "://") {
		u, err := url.Parse(target)
		if err != nil {
			return "", bad(err)
		}
		if u.Scheme != "https" || (u.Path != "" && u.Path != "/") {
			return "", bad(fmt.Errorf("neither unix:PATH nor https://HOST:PORT"))
		}
		host = u.Host
	}
	if _, port, err := net.SplitHostPort(host); err != nil {
		return "", bad(err)
	} else if port == "" {
		return "", bad(fmt.Errorf("no port"))
	}
	return host, nil
}
