package pki

import (
	"crypto/ecdsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/redoubt-dr/redoubt"
)

func writePair(dir, certName, keyName string, der []byte, key *ecdsa.PrivateKey) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return &redoubt.Error{Op: "make folder", Object: dir, Err: err}
	}
	k, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	// The key first and never over another one: a certificate without its key is useless, a lost key is a loss.
	if err := writePEM(filepath.Join(dir, keyName), "PRIVATE KEY", k, 0o600, true); err != nil {
		return err
	}
	return writePEM(filepath.Join(dir, certName), "CERTIFICATE", der, 0o644, false)
}

func writePEM(path, typ string, der []byte, mode os.FileMode, exclusive bool) error {
	flag := os.O_WRONLY | os.O_CREATE | os.O_TRUNC
	if exclusive {
		flag = os.O_WRONLY | os.O_CREATE | os.O_EXCL
	}
	f, err := os.OpenFile(path, flag, mode)
	if errors.Is(err, fs.ErrExist) {
		return &redoubt.Error{Op: "write", Object: path, Hint: "choose another folder, or remove the old key if it is not needed any more", Err: redoubt.ErrExists}
	}
	if err != nil {
		return &redoubt.Error{Op: "write", Object: path, Err: err}
	}
	err = errors.Join(pem.Encode(f, &pem.Block{Type: typ, Bytes: der}), f.Sync(), f.Close())
	if err != nil {
		return &redoubt.Error{Op: "write", Object: path, Err: err}
	}
	return nil
}

// maxPEM bounds the files that are read, in bytes.
const maxPEM = 1 << 20

func readPEM(path, typ string) ([]byte, error) {
	fail := func(err error) error {
		return &redoubt.Error{Op: "read", Object: path, Err: err, Hint: "make it with `redoubt ca init` and `redoubt ca issue`"}
	}
	st, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fail(fmt.Errorf("no such file: %w", redoubt.ErrNotFound))
	}
	if err != nil {
		return nil, fail(err)
	}
	if st.Size() > maxPEM {
		return nil, fail(fmt.Errorf("%d bytes are too many: %w", st.Size(), redoubt.ErrInvalid))
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, fail(err)
	}
	blk, _ := pem.Decode(b)
	if blk == nil || blk.Type != typ {
		return nil, fail(fmt.Errorf("no PEM block %q: %w", typ, redoubt.ErrInvalid))
	}
	return blk.Bytes, nil
}

func readCert(path string) (*x509.Certificate, error) {
	der, err := readPEM(path, "CERTIFICATE")
	if err != nil {
		return nil, err
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, &redoubt.Error{Op: "read certificate", Object: path, Err: fmt.Errorf("%w: %w", redoubt.ErrInvalid, err)}
	}
	return c, nil
}

func readPair(certPath, keyPath string) (*x509.Certificate, *ecdsa.PrivateKey, error) {
	cert, err := readCert(certPath)
	if err != nil {
		return nil, nil, err
	}
	der, err := readPEM(keyPath, "PRIVATE KEY")
	if err != nil {
		return nil, nil, err
	}
	k, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		return nil, nil, &redoubt.Error{Op: "read key", Object: keyPath, Err: fmt.Errorf("%w: %w", redoubt.ErrInvalid, err)}
	}
	key, ok := k.(*ecdsa.PrivateKey)
	if !ok || !key.PublicKey.Equal(cert.PublicKey) {
		return nil, nil, &redoubt.Error{Op: "read key", Object: keyPath, Hint: "certificate and key come from different issues",
			Err: fmt.Errorf("key does not fit %s: %w", certPath, redoubt.ErrInvalid)}
	}
	return cert, key, nil
}
