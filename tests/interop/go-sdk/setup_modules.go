//go:build setup_modules

// Package main needs this file in order that go.mod names what the printed text imports.
package main

import _ "github.com/aws/aws-sdk-go-v2/config"
