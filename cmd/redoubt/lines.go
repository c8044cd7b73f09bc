package main

import (
	"bytes"
	"strings"
)

// lines collects output line by line.
type lines struct{ bytes.Buffer }

func (l *lines) all() []string {
	s := strings.TrimSuffix(l.String(), "\n")
	if s == "" {
		return []string{}
	}
	return strings.Split(s, "\n")
}
