"""Addresses that no host of a cluster has: the panel does not connect there, whoever asks it to."""

import pytest
from django.core.exceptions import ValidationError

from clusters.models import Node, why_no_host

NOWHERE = ["169.254.169.254", "::ffff:169.254.169.254", "0.0.0.0", "::", "224.0.0.1", "ff02::1", "255.255.255.255"]
SPELT = ["2852039166", "0xa9fea9fe", "169.254.43518", "0251.254.169.254", "0"]
"""Other spellings, which a resolver reads as addresses."""


@pytest.mark.parametrize("address", NOWHERE + SPELT)
def test_a_metadata_service_and_everybody_at_once_are_no_hosts(address):
    assert why_no_host(address)


@pytest.mark.parametrize("address", ["10.0.0.1", "127.0.0.1", "pg1.example", "fd00::1", "192.168.1.4", "fe80::1%eth0"])
def test_a_host_on_any_network_of_ones_own_is_one(address):
    assert not why_no_host(address)


@pytest.mark.parametrize("name", ["ssh_host", "jump_host", "node_address"])
def test_a_node_is_not_made_of_one_nor_of_a_name_with_a_line_break(name):
    others = {field.name for field in Node._meta.fields} - {name}
    for value in ("169.254.169.254", "pg1.example\n"):
        with pytest.raises(ValidationError) as caught:
            Node(**{name: value}).clean_fields(exclude=others)
        assert name in caught.value.message_dict
