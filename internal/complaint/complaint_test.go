package complaint

import (
	"bytes"
	"log/slog"
	"testing"
	"time"
)

func TestComplaintsAreFew(t *testing.T) {
	var said bytes.Buffer
	log := slog.New(slog.NewTextHandler(&said, nil))
	now := time.Unix(1e9, 0)
	var a Account
	for i := range 1000 {
		a.Warn(log, now.Add(time.Duration(i)*time.Millisecond), "spam")
	}
	a.Warn(log, now.Add(time.Hour), "later")
	if n := bytes.Count(said.Bytes(), []byte("msg=spam")); n != Burst || !bytes.Contains(said.Bytes(), []byte("msg=later omitted=950")) {
		t.Errorf("%d lines of 1000:\n%s", n, said.String())
	}
}
