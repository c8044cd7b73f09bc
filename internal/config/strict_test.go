package config

import "testing"

func TestBlocksOfLines(t *testing.T) {
	var v struct {
		Text string `yaml:"text"`
		N    int    `yaml:"n"`
	}
	none := func() Faults { return nil }
	if err := Decode([]byte("text: |\n  two\n  lines\nn: 3\n"), &v, none); err != nil || v.Text != "two\nlines\n" || v.N != 3 {
		t.Errorf("%+v, %v", v, err)
	}
	err := Decode([]byte("text: >\n  folded\n  lines\nm: 3\n"), &v, func() Faults { return Faults{{Key: "text", Message: "is wrong"}} })
	if err == nil || err.Error() != "2 faults\n  1:7: text: is wrong\n  4:1: m: unknown key (did you mean n?)" {
		t.Errorf("%v", err)
	}
}
