"""The work behind the commands; a command asks and prints.

explain   one request through the real gate
check     each thing that the gateway depends on, asked once
probe     every spelling of every password rule, fired at a running gateway
"""
