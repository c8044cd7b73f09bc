package check

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/internal/pki"
)

const (
	receiptVersion = 1
	// signContext is what the signature says that the text is.
	signContext = "redoubt recovery check receipt 1"
	// maxEnvelope bounds a signed receipt, in bytes; catalog.MaxReceipt is the same.
	maxEnvelope = 32 << 10
	// maxTail is how much of the script's output a receipt holds, in bytes.
	maxTail = 4 << 10
	// minText is what is not cut for the sake of the receipt's length, in bytes.
	minText = 64
	// maxListed is how many disks a receipt lists one by one; the root hash is of all.
	maxListed = 64
)

// Receipt says what a check found. docs/formats/receipt.md explains it.
type Receipt struct {
	Version   int              `json:"version"`
	ID        string           `json:"id"`
	Group     redoubt.GroupID  `json:"group"`
	GroupUUID string           `json:"group_uuid"`
	Point     redoubt.Position `json:"point"`
	PointTime time.Time        `json:"point_time"`
	Node      string           `json:"node"`

	Script       string    `json:"script"`
	ScriptSHA256 string    `json:"script_sha256"`
	Passed       bool      `json:"passed"`
	Exit         int       `json:"exit"` // -1: killed, or it did not begin
	Problem      string    `json:"problem,omitempty"`
	Started      time.Time `json:"started"`
	Finished     time.Time `json:"finished"`
	// RTOSeconds is from the request to the first byte of every disk.
	RTOSeconds    float64 `json:"rto_seconds"`
	ScriptSeconds float64 `json:"script_seconds"`

	OutputSHA256 string `json:"output_sha256"`
	OutputBytes  uint64 `json:"output_bytes"`
	OutputTail   string `json:"output_tail"` // the last 4 KiB at most

	// RootSHA256 is of all disks as they were at the point; empty if that was not asked for.
	RootSHA256 string       `json:"root_sha256,omitempty"`
	Disks      []DiskDigest `json:"disks"`
}

// DiskDigest is what one disk held at the point.
type DiskDigest struct {
	Name   string `json:"name"`
	Size   uint64 `json:"size"` // bytes
	SHA256 string `json:"sha256,omitempty"`
}

// envelope is a signed receipt as it stands in a file.
type envelope struct {
	Format      string `json:"format"` // envelopeFormat
	Version     int    `json:"version"`
	Receipt     string `json:"receipt"` // base64 of the JSON that is signed
	Certificate string `json:"certificate"`
	Signature   string `json:"signature"` // base64
}

const envelopeFormat = "redoubt-signed-receipt"

// seal signs r. Text that JSON makes so long that the receipt would not fit (a
// control character takes six bytes) is cut: the output's beginning, the problem's end.
func seal(r *Receipt, c *pki.Credentials) ([]byte, error) {
	for {
		b, err := sealWhole(r, c)
		if !errors.Is(err, redoubt.ErrOutOfRange) || len(r.OutputTail) < minText && len(r.Problem) < minText {
			return b, err
		}
		if len(r.OutputTail) >= len(r.Problem) {
			r.OutputTail = strings.ToValidUTF8(r.OutputTail[len(r.OutputTail)/2:], "")
		} else {
			r.Problem = strings.ToValidUTF8(r.Problem[:len(r.Problem)/2], "")
		}
	}
}

func sealWhole(r *Receipt, c *pki.Credentials) ([]byte, error) {
	text, err := json.Marshal(r)
	if err != nil {
		return nil, err
	}
	s, err := c.Sign(signContext, text)
	if err != nil {
		return nil, err
	}
	b, err := json.MarshalIndent(envelope{Format: envelopeFormat, Version: receiptVersion, Receipt: base64.StdEncoding.EncodeToString(text),
		Certificate: string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate})), Signature: base64.StdEncoding.EncodeToString(s.Value)}, "", "  ")
	if err == nil && len(b) > maxEnvelope {
		err = badReceipt(fmt.Errorf("%d bytes: %w", len(b), redoubt.ErrOutOfRange), "")
	}
	return append(b, '\n'), err
}

// open reads a signed receipt without asking whether the signature is right.
func open(b []byte) (*Receipt, []byte, pki.Signature, error) {
	fail := func(what string, err error) (*Receipt, []byte, pki.Signature, error) {
		return nil, nil, pki.Signature{}, badReceipt(fmt.Errorf("%s: %w: %w", what, err, redoubt.ErrCorrupt), "is it the file that redoubt check receipt wrote?")
	}
	if len(b) > maxEnvelope+1 {
		return fail(fmt.Sprintf("%d bytes", len(b)), redoubt.ErrOutOfRange)
	}
	var e envelope
	if err := strict(b, &e); err != nil {
		return fail("the file", err)
	}
	if e.Format != envelopeFormat {
		return fail("the file", redoubt.ErrInvalid)
	}
	if e.Version != receiptVersion {
		return nil, nil, pki.Signature{}, badReceipt(fmt.Errorf("version %d: %w", e.Version, redoubt.ErrVersion), "")
	}
	text, err := base64.StdEncoding.DecodeString(e.Receipt)
	if err != nil {
		return fail("the receipt", err)
	}
	var r Receipt
	if err := strict(text, &r); err != nil {
		return fail("the receipt", err)
	}
	value, err := base64.StdEncoding.DecodeString(e.Signature)
	if err != nil {
		return fail("the signature", err)
	}
	block, rest := pem.Decode([]byte(e.Certificate))
	if block == nil || block.Type != "CERTIFICATE" || len(bytes.TrimSpace(rest)) > 0 {
		return fail("the certificate", redoubt.ErrInvalid)
	}
	return &r, text, pki.Signature{Certificate: block.Bytes, Value: value}, nil
}

func strict(b []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return err
	}
	if d.More() {
		return redoubt.ErrInvalid
	}
	return nil
}

// Verify checks a signed receipt with the authority's certificate alone: it
// was signed by the node that it names, a master target of that authority, at
// a time when its certificate was valid. ErrDenied if not.
func Verify(b []byte, caFile string) (*Receipt, pki.Identity, error) {
	r, text, s, err := open(b)
	if err != nil {
		return nil, pki.Identity{}, err
	}
	id, err := pki.VerifySignature(caFile, signContext, text, s, r.Finished)
	if err != nil {
		return nil, id, err
	}
	if id.Role != pki.RoleTarget || id.Name != r.Node {
		return nil, id, badReceipt(fmt.Errorf("signed by %s, made by %s: %w", id, r.Node, redoubt.ErrDenied), "")
	}
	return r, id, nil
}

func badReceipt(err error, hint string) error {
	return &redoubt.Error{Op: "read receipt", Err: err, Hint: hint}
}
