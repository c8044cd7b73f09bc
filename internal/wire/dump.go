package wire

import (
	"errors"
	"fmt"
	"io"
)

// Dump prints one line for each frame of a recorded stream without preface, up
// to its end or the first fault, which it returns.
func Dump(w io.Writer, r io.Reader, maxBody int) error {
	fr := Reader{R: r, Max: maxBody}
	for n, off := 0, int64(0); ; n++ {
		typ, body, err := fr.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if _, err := fmt.Fprintf(w, "frame %d at %d: type %d, %d bytes\n", n, off, typ, len(body)); err != nil {
			return err
		}
		off += HeaderLen + int64(len(body))
	}
}

// Verify checks every frame of a recorded stream without preface and returns
// how many there are.
func Verify(r io.Reader, maxBody int) (int, error) {
	fr := Reader{R: r, Max: maxBody}
	for n := 0; ; n++ {
		if _, _, err := fr.Next(); errors.Is(err, io.EOF) {
			return n, nil
		} else if err != nil {
			return n, err
		}
	}
}
