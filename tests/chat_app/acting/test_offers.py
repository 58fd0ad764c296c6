"""Where the model is no good, the index answers, and the reply says so."""


def test_houses_at_ten_metres_are_not_passed_off_as_the_models_work(conversation, session):
    turn = list(conversation.run_turn(session.id, "show me the houses"))[-1].turn
    assert session.extraction("buildings").method == "index"
    assert "pixels of 10 m" in turn.reply and "3 m or finer" in turn.reply and "spectral index alone" in turn.reply


def test_houses_at_one_metre_are(conversation, tmp_path):
    from spex_model.training.synthesis import synthesize, write_geotiff

    write_geotiff(tmp_path / "fine.tif", synthesize(5, size=96, gsd_m=1.0, sensor="naip"))
    session = conversation.store.create(tmp_path / "fine.tif")
    turn = list(conversation.run_turn(session.id, "show me the houses"))[-1].turn
    assert session.extraction("buildings").method == "model" and "or finer" not in turn.reply
