"""What leaves an installation: no secrets, no ids of it; everything else as it was."""

from workflow.portable import portable

ID = "0190b5a8-1111-7000-8000-000000000001"


def test_everything_that_is_not_private_stays():
    document = {
        "name": "w",
        "nodes": [{"id": "a", "type": "t", "config": {"values": {"n": 1, "tokens": "7"}, "list": [{"x": None}]}}],
        "connections": [{"source": "a", "target": "a"}],
        "settings": {"isolation": "pooled"},
    }

    assert portable(document) == (document, [])


def test_secrets_and_ids_are_emptied_and_named():
    document = {
        "nodes": [
            {
                "id": "a",
                "credentials": ID,
                "config": {
                    "headers": [{"name": "Authorization", "value": "Bearer abc"}, {"name": "Accept", "value": "a/b"}],
                    "api_key": "k",
                    "token": "{{ $vars.token }}",
                    "nested": {"clientSecret": "s", "password": ""},
                    "workflow_id": ID,
                },
            }
        ],
        "settings": {"error_workflow": ID, "timezone": "UTC"},
    }

    kept, removed = portable(document)

    config = kept["nodes"][0]["config"]
    assert "credentials" not in kept["nodes"][0]
    assert [header["value"] for header in config["headers"]] == ["", "a/b"]
    assert (config["api_key"], config["nested"]["clientSecret"], config["workflow_id"]) == ("", "", "")
    assert config["token"] == "{{ $vars.token }}"
    assert kept["settings"] == {"timezone": "UTC"}
    assert sorted(removed) == [
        "nodes.a.config.api_key",
        "nodes.a.config.headers.0.value",
        "nodes.a.config.nested.clientSecret",
        "nodes.a.config.workflow_id",
        "nodes.a.credentials",
        "settings.error_workflow",
    ]
    assert document["nodes"][0]["config"]["api_key"] == "k"
